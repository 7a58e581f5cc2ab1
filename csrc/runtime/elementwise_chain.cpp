#include "runtime/elementwise_chain.h"

#include <memory>
#include <numeric>

#include "runtime/broadcast.h"
#include "runtime/elementwise_ranges.h"
#include "runtime/fast_lookup.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"

namespace qat::runtime {
namespace {

// Note [One pass over elements]
// A block of floats goes through all operators of a chain while it is in the level-1 cache: codes
// are read once and written once, whatever stands in between. Codes that meet no other operand are
// a table of 256 bytes, which the same pass makes from all codes.
constexpr int64_t kBlock = 1024;

enum class StageKind { activation, prelu, affine, binary };

struct Stage {
  StageKind kind = StageKind::activation;
  numerics::Activation activation;
  const float *gain = nullptr, *bias = nullptr;  // per channel; the gain is the slope of prelu
  graph::Binary op = graph::Binary::add;
  bool operand_first = false;
  const graph::Value* operand = nullptr;
};

// What does not depend on sizes. It outlives every context that runs it.
struct Program {
  Site site;
  size_t channel_axis = 1;
  const graph::Value *source, *output;
  std::vector<Stage> stages;

  bool is_table() const {
    for (const Stage& stage : stages) {
      if (stage.kind != StageKind::activation) return false;
    }
    return source->type == graph::ElementType::codes && output->type == graph::ElementType::codes;
  }
};

Stage make_stage(const Site& site, const ChainStage& from) {
  const graph::Node& node = site.model.graph.nodes[static_cast<size_t>(from.node)];
  const auto tensor = [&](const std::string& name) {
    const graph::Shape& shape = Site{site.model, node}.input(0).shape;
    if (shape.size() < 2) fail(node, "needs an input of rank 2 or more for its channels");
    return node_tensor(site.model, node, name, TensorType::float32, {shape[1].constant})
        .data<float>();
  };
  Stage stage;
  if (const auto* a = std::get_if<graph::ActivationAttributes>(&node.attributes)) {
    stage.activation = a->activation;
    if (a->slope.empty()) return stage;
    stage.kind = StageKind::prelu;
    stage.gain = tensor(a->slope);
  } else if (const auto* affine = std::get_if<graph::AffineAttributes>(&node.attributes)) {
    stage.kind = StageKind::affine;
    stage.gain = tensor(affine->multiplier);
    stage.bias = tensor(affine->bias);
  } else {
    stage.kind = StageKind::binary;
    stage.op = std::get<graph::BinaryAttributes>(node.attributes).op;
    stage.operand_first = from.operand_first;
    stage.operand = &site.model.graph.values[static_cast<size_t>(from.operand)];
  }
  return stage;
}

class BoundChain {
 public:
  BoundChain(std::shared_ptr<const Program> program, const Binding& at, BroadcastRows rows)
      : program_(std::move(program)),
        rows_(std::move(rows)),
        input_(at.inputs[0]),
        output_(at.output) {
    size_t next = 1;
    for (const Stage& stage : program_->stages) {
      operands_.push_back(stage.kind == StageKind::binary ? at.inputs[next++] : nullptr);
    }
  }

  void operator()(int threads, MacCount&) const {
    const int64_t blocks = (rows_.size + kBlock - 1) / kBlock;  // of a row
    const int64_t grain = kElementGrain / std::clamp<int64_t>(rows_.size, 1, kBlock);
    parallel_for(threads, rows_.count * blocks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = i % blocks * kBlock;
        run_block(i / blocks, at, std::min(kBlock, rows_.size - at));
      }
    });
  }

 private:
  // `n` elements of a row from `at`.
  void run_block(int64_t row, int64_t at, int64_t n) const {
    float block[kBlock];
    const graph::Value &source = *program_->source, &result = *program_->output;
    const int64_t element = row * rows_.size + at;
    const bool writes_codes = result.type == graph::ElementType::codes;
    const float* x = block;
    if (source.type == graph::ElementType::codes) {
      dequantize_range(input_->as<uint8_t>() + element, block, n, source.qparams,
                       source.format.is_signed);
    } else {
      x = input_->as<float>() + element;
    }
    for (size_t s = 0; s < program_->stages.size(); ++s) {
      const bool last = s + 1 == program_->stages.size();
      float* y = last && !writes_codes ? output_->as<float>() + element : block;
      run_stage(s, rows_.offset(s, row) + at * rows_.inner[s], x, y, n);
      x = y;
    }
    if (writes_codes) {
      quantize_range(x, output_->as<uint8_t>() + element, n, result.qparams, result.format);
    }
  }

  // offset: of the operand.
  void run_stage(size_t s, int64_t offset, const float* x, float* y, int64_t n) const {
    const Stage& stage = program_->stages[s];
    const int64_t stride = rows_.inner[s];
    switch (stage.kind) {
      case StageKind::activation:
        return activate_range(x, y, n, stage.activation);
      case StageKind::prelu:
        return prelu_range(x, {stage.gain + offset, stride}, y, n);
      case StageKind::affine:
        return affine_range(x, {stage.gain + offset, stride}, {stage.bias + offset, stride}, y, n);
      case StageKind::binary:
        break;
    }
    float block[kBlock];
    Operand operand{block, stride};
    if (stage.operand->type == graph::ElementType::codes) {
      dequantize_range(operands_[s]->as<uint8_t>() + offset, block, stride == 0 ? 1 : n,
                       stage.operand->qparams, stage.operand->format.is_signed);
    } else {
      operand.values = operands_[s]->as<float>() + offset;
    }
    const Operand own{x, 1};
    combine_range(stage.op, stage.operand_first ? operand : own,
                  stage.operand_first ? own : operand, y, n);
  }

  std::shared_ptr<const Program> program_;
  BroadcastRows rows_;
  const View *input_, *output_;
  std::vector<const View*> operands_;  // per stage
};

Sizes channel_strides(const Sizes& shape, size_t axis) {
  Sizes strides(shape.size(), 0);
  strides.at(axis) = 1;
  return strides;
}

Bound bind_chain(const std::shared_ptr<const Program>& program, const Binding& at) {
  const Site& site = program->site;
  const Sizes& shape = at.inputs[0]->shape;
  std::vector<Sizes> strides;
  size_t next = 1;
  for (const Stage& stage : program->stages) {
    if (stage.kind == StageKind::activation) {
      strides.emplace_back(shape.size(), 0);
    } else if (stage.kind == StageKind::binary) {
      const Sizes& operand = at.inputs[next++]->shape;
      check_made(site.node, broadcast_shape(site.node, shape, operand), *at.output);
      strides.push_back(broadcast_strides(operand, shape));
    } else {
      strides.push_back(channel_strides(shape, program->channel_axis));
    }
  }
  check_made(site.node, shape, *at.output);
  return BoundChain(program, at, BroadcastRows(shape, strides));
}

ByteTable make_table(const std::shared_ptr<const Program>& program) {
  ByteTable codes, table;
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  const auto view = [](ByteTable& bytes) {
    return View{TensorType::uint8, {256}, 256, reinterpret_cast<std::byte*>(bytes.data())};
  };
  const View from = view(codes), to = view(table);
  MacCount macs;
  bind_chain(program, {{&from}, &to, 1})(1, macs);
  return table;
}

}  // namespace

Binder make_elementwise_chain(const Site& site, const Chain& chain, Layout layout) {
  const auto value = [&](int64_t i) { return &site.model.graph.values[static_cast<size_t>(i)]; };
  const size_t channel_axis = layout == Layout::channels_last ? 3 : 1;
  auto program = std::make_shared<Program>(
      Program{site, channel_axis, value(chain.input), value(chain.output), {}});
  for (const ChainStage& stage : chain.stages) {
    const auto& attributes = site.model.graph.nodes[static_cast<size_t>(stage.node)].attributes;
    if (std::holds_alternative<graph::QuantizeAttributes>(attributes)) continue;
    program->stages.push_back(make_stage(site, stage));
  }
  if (program->is_table()) {
    return [site, table = make_table(program)](const Binding& at) {
      return bind_table(site.node, table, at);
    };
  }
  return [program](const Binding& at) { return bind_chain(program, at); };
}

}  // namespace qat::runtime
