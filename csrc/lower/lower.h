#pragma once
// From a prepared model to an integer graph.

#include "graph/model.h"
#include "insert/engine.h"

namespace qat::lower {

// The model must be in eval(). Throws qat::Error naming the site.
graph::Model lower(Engine& engine);

}  // namespace qat::lower
