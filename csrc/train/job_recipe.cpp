#include <nlohmann/json.hpp>
#include <sstream>

#include "nearest.h"
#include "train/job_sections.h"

namespace qat::train {
namespace {

bool is_path(const std::string& text) {
  return text.find('/') != std::string::npos || text.ends_with(".yaml") || text.ends_with(".yml") ||
         text.ends_with(".json");
}

// The place of "recipe.weights.bits" or "recipe.rules[1].sites", as far down as the tree goes.
Place locate(const Node& recipe, const std::string& dotted) {
  const Node* node = &recipe;
  Place place = recipe.place;
  std::string path = dotted;
  for (char& c : path) {
    if (c == '[') c = '.';
    if (c == ']') c = ' ';
  }
  std::istringstream keys(path);
  std::string key;
  std::getline(keys, key, '.');  // "recipe"
  while (std::getline(keys, key, '.')) {
    if (!key.empty() && key.back() == ' ') key.pop_back();
    if (node->kind == Node::Kind::list && is_integer(key) && key.size() < 9 &&
        std::stoul(key) < node->items.size()) {
      node = &node->items[std::stoul(key)];
      place = node->place;
    } else if (const Entry* entry = node->find(key)) {
      node = &entry->value;
      place = node->kind == Node::Kind::scalar ? node->place : entry->place;
    } else {
      break;
    }
  }
  return place;
}

}  // namespace

Recipe parse_recipe(const Node& node) {
  if (node.kind == Node::Kind::scalar) {
    try {
      if (!is_path(node.scalar)) return Recipe::named(node.scalar);
    } catch (const Error& error) {
      const auto near = nearest(node.scalar, recipe_names());
      node.place.fail(error.what() + (near ? "; did you mean '" + *near + "'?" : std::string()));
    }
    return parse_recipe(parse_yaml_file(node.scalar));
  }
  if (node.kind != Node::Kind::map) {
    node.place.fail("recipe: expected a name, a path or a map, found " + node.found());
  }
  try {
    return Recipe::from_json(to_json(node));
  } catch (const Error& error) {
    const std::string message = error.what();
    locate(node, message.substr(0, message.find(':'))).fail(message);
  }
}

}  // namespace qat::train
