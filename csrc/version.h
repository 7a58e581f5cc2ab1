#pragma once

namespace qat {

// Version of this library, "0.1.0".
const char* version();

// Version of the torch it was compiled against, "2.13.0". The library refuses to load beside
// another one: the layout of at::Tensor and of autograd's nodes differs between releases.
const char* torch_version();

}  // namespace qat
