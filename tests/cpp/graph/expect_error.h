#pragma once
// Failures are checked by their text: what the user reads is part of the interface.

#include <gtest/gtest.h>

#include <string>

#include "error.h"

namespace qat::testing {

// The message of the qat::Error that `call` throws; any other outcome fails the test.
template <typename Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a qat::Error: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace qat::testing
