#pragma once
// The digest that a safetensors file carries of itself, in a metadata key that ends in sha256.

#include <string>

namespace qat::checkpoint {

// What stands there while the digest is taken.
std::string blank_digest();
// Puts the digest into a file that was serialized with a blank one.
void insert_digest(std::string& bytes);
// found: the value of `key` in the file's metadata; remedy: what to do with a damaged file. Throws
// qat::Error where it is not the digest of `bytes`.
void require_digest(const std::string& bytes, const std::string& key, const std::string& found,
                    const std::string& origin, const std::string& remedy);

}  // namespace qat::checkpoint
