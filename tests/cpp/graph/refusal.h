#pragma once
// What validate() says after one change to a correct model.

#include <functional>

#include "graph/expect_error.h"
#include "graph/models.h"
#include "graph/validate.h"

namespace qat::testing {

inline std::string refusal_of(graph::Model model) {
  return message_of([&] { graph::validate(model, "f"); });
}

// Changes the attributes of one node; the message without its "f: node 3 'name' (op): ".
template <typename T>
std::string refusal(const std::string& name, const std::function<void(T&)>& change) {
  graph::Model model = every_operator();
  change(std::get<T>(node_named(model, name).attributes));
  const std::string message = refusal_of(model);
  const std::string place =
      "'" + name + "' (" + graph::operator_name(node_named(model, name).attributes) + "): ";
  const size_t begin = message.find(place);
  EXPECT_NE(begin, std::string::npos) << message;
  return begin == std::string::npos ? message : message.substr(begin + place.size());
}

inline std::string refusal(const std::function<void(graph::Model&)>& change) {
  graph::Model model = every_operator();
  change(model);
  return refusal_of(model);
}

}  // namespace qat::testing
