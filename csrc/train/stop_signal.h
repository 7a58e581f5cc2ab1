#pragma once
// SIGINT and SIGTERM as a wish that the loop fulfils between two steps.

namespace qat::train {

// Thrown once everything that resuming needs is on disk.
struct Stopped {
  int signal;
};

// The first SIGINT or SIGTERM is remembered, the second ends the process as usual.
void install_stop_handler();
// The signal that has arrived, or 0.
int stop_requested();

}  // namespace qat::train
