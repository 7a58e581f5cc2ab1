#pragma once
// What tells two jobs apart.

#include "train/fields.h"
#include "train/job.h"

namespace qat::train {

// "seed was 1, is 2", one per key. Names, folders and the paths of the data do not count: the data
// themselves have a digest.
Words changes_between(const Job& then, const Job& now);

}  // namespace qat::train
