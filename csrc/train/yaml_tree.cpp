#include "train/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <cctype>
#include <optional>
#include <sstream>
#include <utility>

#include "train/text_file.h"

namespace qat::train {
namespace {

constexpr size_t kDeepest = 16;

// Builds the tree from yaml-cpp's events. Its node API would drop marks of keys, resolve aliases
// and keep the first of two equal keys without a word.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(Place origin) : origin_(std::move(origin)) { root_.place = origin_; }

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    put(make(Node::Kind::null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    at(mark).fail("aliases (*name) are not allowed in a job; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    Node node = make(Node::Kind::scalar, mark);
    node.quoted = tag == "!";
    node.scalar = value;
    if (!node.quoted && (value == "~" || value == "null")) node.kind = Node::Kind::null;
    put(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 protected:
  Place at(const YAML::Mark& mark) const {
    if (origin_.line == 0) return origin_;
    return {origin_.source, mark.line + 1, mark.column + 1};
  }

 private:
  struct Frame {
    Node node;
    std::optional<std::pair<std::string, Place>> key;  // of the value that comes next
  };

  Node make(Node::Kind kind, const YAML::Mark& mark) const {
    Node node;
    node.kind = kind;
    node.place = at(mark);
    return node;
  }
  // yaml-cpp reports "?" for plain and "!" for quoted scalars that carry no tag.
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != 0) at(mark).fail("anchors (&name) are not allowed in a job; write the value out");
    if (!tag.empty() && tag != "?" && tag != "!") {
      at(mark).fail("tags (!!type) are not allowed in a job, found tag '" + tag + "'");
    }
  }
  bool wants_key() const {
    return !frames_.empty() && frames_.back().node.kind == Node::Kind::map && !frames_.back().key;
  }
  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    check(mark, tag, anchor);
    if (wants_key()) at(mark).fail("a key must be a word, found a list or a map");
    if (frames_.size() == kDeepest) at(mark).fail("nested deeper than 16 levels");
    frames_.push_back({make(kind, mark), {}});
  }
  void close() {
    Node node = std::move(frames_.back().node);
    frames_.pop_back();
    put(std::move(node));
  }
  void put(Node node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == Node::Kind::list) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.key) {
      put_key(frame, node);
    } else {
      frame.node.entries.push_back({frame.key->first, frame.key->second, std::move(node)});
      frame.key.reset();
    }
  }
  void put_key(Frame& frame, const Node& node) const {
    if (node.kind != Node::Kind::scalar) node.place.fail("a key must be a word, found nothing");
    if (node.scalar == "<<" && !node.quoted) {
      node.place.fail("merge keys (<<) are not allowed in a job; write the keys out");
    }
    if (const Entry* first = frame.node.find(node.scalar)) {
      node.place.fail("key '" + node.scalar + "' is given twice, first at " + first->place.text());
    }
    frame.key.emplace(node.scalar, node.place);
  }

  Place origin_;
  Node root_;
  std::vector<Frame> frames_;
};

// Refuses whatever follows the first document.
class NothingMore : public Builder {
 public:
  using Builder::Builder;
  void OnDocumentStart(const YAML::Mark& mark) override {
    at(mark).fail("a second document starts here; a job is one document");
  }
};

Node parse(const std::string& text, const Place& origin) {
  if (const auto nul = text.find('\0'); nul != std::string::npos) {
    origin.fail("byte " + std::to_string(nul) + " is NUL; this is not a YAML text");
  }
  std::istringstream stream(text);
  Builder builder(origin);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    NothingMore nothing_more(origin);
    parser.HandleNextDocument(nothing_more);
  } catch (const YAML::Exception& error) {
    Place place = origin;
    if (place.line != 0) place = {origin.source, error.mark.line + 1, error.mark.column + 1};
    place.fail("not valid YAML: " + error.msg);
  }
  return builder.take();
}

}  // namespace

std::string Place::text() const {
  if (line == 0) return *source;
  return *source + ":" + std::to_string(line) + ":" + std::to_string(column);
}

void Place::fail(const std::string& message) const {
  throw JobError(text() + ": error: " + message);
}

const Entry* Node::find(const std::string& key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

Entry* Node::find(const std::string& key) {
  return const_cast<Entry*>(std::as_const(*this).find(key));
}

std::string Node::found() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "a map";
    default:
      return "'" + scalar + "'";
  }
}

Node parse_yaml(const std::string& text, const std::string& source) {
  return parse(text, {std::make_shared<std::string>(source), 1, 1});
}

Node parse_yaml_file(const std::string& path) {
  std::string text;
  try {
    text = read_text(path);
  } catch (const Error& error) {
    throw JobError(path + ": error:" + std::string(error.what()).substr(path.size() + 1));
  }
  return parse_yaml(text, path);
}

void apply_override(Node& root, const std::string& assignment) {
  const Place place{std::make_shared<std::string>("command line: " + assignment), 0, 0};
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    place.fail("expected key.sub=value");
  }
  Node* node = &root;
  std::string path;
  std::istringstream keys(assignment.substr(0, equals));
  for (std::string key; std::getline(keys, key, '.');) {
    if (key.empty()) place.fail("expected key.sub=value, found an empty key");
    if (node->kind == Node::Kind::null) node->kind = Node::Kind::map;
    if (node->kind != Node::Kind::map) {
      place.fail(path + " is " + node->found() + " (" + node->place.text() +
                 "), so it has no key '" + key + "'");
    }
    if (!node->find(key)) {
      Node empty;
      empty.place = place;
      node->entries.push_back({key, place, std::move(empty)});
    }
    node = &node->find(key)->value;
    path += (path.empty() ? "" : ".") + key;
  }
  *node = parse(assignment.substr(equals + 1), place);
}

}  // namespace qat::train
