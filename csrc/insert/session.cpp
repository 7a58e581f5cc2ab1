#include "insert/session.h"

#include "error.h"
#include "insert/island.h"

namespace qat::insert {
namespace {

using capture::Kind;
using capture::SiteKeys;

template <typename Tensors>
void collect(const c10::IValue& value, Tensors& operands) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) operands.push_back(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) operands.push_back(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) {
      if (item.isTensor() && item.toTensor().defined()) operands.push_back(item.toTensor());
    }
  }
}

}  // namespace

const std::string& Session::Call::name() const { return trace->nodes[node].name; }

Session::Session(const capture::Trace& trace, const Plan& plan, QuantizerBank& bank,
                 WeightBank& weights, std::shared_ptr<ForwardRecord> record, SessionOptions options)
    : trace_(trace),
      plan_(plan),
      bank_(bank),
      weight_bank_(weights),
      options_(options),
      visited_(trace.nodes.size(), false),
      record_(std::move(record)) {}

void Session::start(const TensorList& inputs) {
  for (const at::Tensor& input : inputs) remember(input, {SiteKeys::input(), true, nullptr});
}

Session::Origin Session::origin_of(const at::Tensor& tensor) const {
  if (const Payload* payload = payload_of(tensor)) return {payload->ancestor, true, nullptr};
  const auto known = tracked_.find(tensor.unsafeGetTensorImpl());
  if (known != tracked_.end() && known->second.tensor.use_count() > 0) return known->second.origin;
  return {{}, false, record_->name_of(tensor)};
}

void Session::remember(const at::Tensor& tensor, const Origin& origin) {
  if (Payload* payload = payload_of(tensor)) {
    payload->ancestor = origin.ancestor;
    payload->record = record_;
    note_history(tensor);
    return;
  }
  tracked_.insert_or_assign(
      tensor.unsafeGetTensorImpl(),
      Tracked{c10::weak_intrusive_ptr<c10::TensorImpl>(tensor.getIntrusivePtr()), origin,
              at::Tensor(), kNoQuantizer, 0, 0});
}

// Finds the call's site (Note [Site keys]) and what its results come from.
Session::Origin Session::result_origin(Call& call) {
  Origin result;
  c10::SmallVector<capture::Ancestor, 8> ancestors;
  const std::string* parameter = nullptr;
  for (const at::Tensor& operand : call.operands) {
    const Origin origin = origin_of(operand);
    result.depends_on_input |= origin.depends_on_input;
    if (parameter == nullptr && !origin.depends_on_input) parameter = origin.parameter;
    ancestors.push_back(origin.ancestor);
  }
  const std::string& stem =
      call.known.stem.empty() ? call.op.operator_name().name : call.known.stem;
  const SiteKeys::Site site =
      parameter != nullptr ? keys_.parametric(stem, *parameter) : keys_.plain(stem, ancestors);
  result.ancestor = site.ancestor;
  if (!result.depends_on_input) result.parameter = parameter;
  const auto found = plan_.node_of_key.find(site.key);
  if (found != plan_.node_of_key.end()) {
    call.node = found->second;
    call.site = &plan_.sites[found->second];
    // A call with other operands is another call, whatever its key says.
    if (trace_.nodes[call.node].input_count() != call.operands.size()) call.site = nullptr;
  }
  return result;
}

void Session::handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  try {
    dispatch(op, stack);
  } catch (const Error& error) {
    failure_ = std::current_exception();
    failure_text_ = error.what();
    throw;
  }
}

void Session::rethrow_failure(const std::exception& arrived) const {
  const bool same = std::string_view(arrived.what()).find(failure_text_) != std::string_view::npos;
  if (failure_ && same) std::rethrow_exception(failure_);
}

void Session::dispatch(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const size_t count = op.schema().arguments().size();
  Call call{op,
            stack,
            capture::classify(op),
            {op.schema(), stack.data() + (stack.size() - count)},
            {},
            {},
            {},
            -1,
            nullptr,
            &trace_};
  for (size_t i = stack.size() - count; i < stack.size(); ++i) collect(stack[i], call.operands);
  for (const at::Tensor& operand : call.operands) refresh(operand);
  call.origin = result_origin(call);
  if (call.site != nullptr) visited_[static_cast<size_t>(call.node)] = true;
  if (options_.recompute && skip_write(call)) return;
  if (!options_.quantize) {
    calibrate(call);
    return;
  }
  require_known(call);
  if (in_integers(call)) {
    run_planned(call);
  } else {
    run_island(call);
  }
  if (call.site != nullptr && trace_.nodes[call.node].data_dependent) compare_outcome(call);
}

bool Session::in_integers(const Call& call) const {
  return call.site != nullptr && call.site->integer && options_.progress.started(*call.site);
}

void Session::push_results(Call& call, Results results) {
  const size_t count = call.op.schema().arguments().size();
  for (const at::Tensor& result : results) remember(result, call.origin);
  const Payload* first = results.empty() ? nullptr : payload_of(results[0]);
  if (probe && first != nullptr && first->codes) probe(call.name(), *first->codes);
  if (call.known.in_place) {
    write_in_place(call, results[0]);
    results = {call.written};
  }
  offer(call, results);
  call.stack.resize(call.stack.size() - count);
  const auto& returns = call.op.schema().returns();
  const bool as_list = returns.size() == 1 && returns[0].type()->kind() == c10::TypeKind::ListType;
  if (as_list) {
    call.stack.emplace_back(c10::List<at::Tensor>(results));
    return;
  }
  for (const at::Tensor& result : results) call.stack.emplace_back(result);
}

// A planned operator never computes in the memory that it is to overwrite: backward needs its
// operands as they were.
void Session::separate_written(Call& call) {
  call.written = call.operands[0];
  const Payload* payload = payload_of(call.written);
  const bool wraps_real = payload != nullptr && payload->real.tensor.defined() && payload->chain &&
                          payload->chain->acc.is_alias_of(payload->real.tensor);
  if (payload != nullptr && !wraps_real) return;
  const Origin origin = origin_of(call.written);
  call.operands[0] = realize(call.written).clone();
  call.stack[call.stack.size() - call.arguments.size()] = call.operands[0];
  remember(call.operands[0], origin);
}

void Session::write_in_place(Call& call, const at::Tensor& result) {
  const at::Tensor& self = call.written;
  if (payload_of(self) == nullptr) {
    self.copy_(realize(result));
  } else if (has_real_views(self)) {
    const at::Tensor real = realize(self);
    real.copy_(realize(result));
    replace_with_real(self, real);
  } else if (payload_of(result) != nullptr) {
    replace_contents(self, result);
  } else {
    replace_with_real(self, result);
  }
  remember(self, call.origin);
}

void Session::run_planned(Call& call) {
  if (call.known.in_place) separate_written(call);
  if (auto results = planned_at_site(call)) {
    push_results(call, std::move(*results));
  } else {
    run_island(call);
  }
}

// A part that runs again leaves the model's buffers as its first run did. True: the call is done.
bool Session::skip_write(Call& call) {
  if (call.known.kind == Kind::batch_norm) {
    keep_statistics(call);
    return false;
  }
  if (!call.known.in_place || call.operands.empty()) return false;
  if (record_->name_of(call.operands[0]) == nullptr) return false;
  const at::Tensor self = call.operands[0];
  call.stack.resize(call.stack.size() - call.arguments.size());
  call.stack.emplace_back(self);
  return true;
}

void Session::keep_statistics(Call& call) {
  const size_t first = call.stack.size() - call.arguments.size();
  for (const char* name : {"running_mean", "running_var"}) {
    const auto index = call.arguments.index_of(name);
    if (!index) continue;
    c10::IValue& value = call.stack[first + *index];
    if (value.isTensor() && value.toTensor().defined()) value = value.toTensor().clone();
  }
}

void Session::run_island(Call& call) {
  const auto& schema = call.op.schema();
  const size_t first = call.stack.size() - schema.arguments().size();
  const auto* alias = schema.arguments().empty() ? nullptr : schema.arguments()[0].alias_info();
  const bool writes = alias != nullptr && alias->isWrite();
  const bool starts_late = observes_real(call) && call.site->integer && !in_integers(call);
  if (starts_late) observe_operands(call);
  if (writes) {
    call_on_real_tensors(call.op, call.stack);
  } else {
    for (size_t i = first; i < call.stack.size(); ++i) realize_argument(call.stack[i]);
    const bool normalizes = call.known.kind == Kind::batch_norm;
    if (normalizes && options_.batch_norm_frozen && call.arguments.get("running_mean").isTensor()) {
      call.stack[first + *call.arguments.index_of("training")] = false;
    }
    call_island(call.op, call.stack, options_.training);
  }
  std::vector<at::Tensor> results;
  for (size_t i = call.stack.size() - schema.returns().size(); i < call.stack.size(); ++i) {
    collect(call.stack[i], results);
  }
  for (const at::Tensor& result : results) remember(result, call.origin);
  if (starts_late) observe_results(call, results);
  offer(call, results);
}

std::optional<Session::Results> Session::planned(Call& call) {
  switch (call.known.kind) {
    case Kind::conv:
      return Results{conv(call)};
    case Kind::linear:
      return Results{linear(call)};
    case Kind::batch_norm:
      return Results{batch_norm(call)};
    case Kind::activation:
      return Results{activation(call)};
    case Kind::prelu:
      return Results{prelu(call)};
    case Kind::binary:
      return Results{binary(call)};
    case Kind::avg_pool:
    case Kind::adaptive_avg_pool:
    case Kind::mean:
      return Results{average(call)};
    case Kind::unary:
      return unary(call);
    case Kind::concat:
      return concat(call);
    case Kind::max_pool:
    case Kind::pad:
    case Kind::reshape:
    case Kind::permute:
    case Kind::slice:
    case Kind::split:
    case Kind::upsample_nearest:
      return layout(call);
    case Kind::dropout:
      return dropout(call);
    case Kind::identity: {
      // contiguous() promises strides, which a later view() relies on.
      const auto* format = call.arguments.find("memory_format");
      const bool moves =
          format != nullptr && !call.operands[0].is_contiguous(format->toMemoryFormat());
      if (moves) return layout(call);
      return Results{call.operands[0]};
    }
    case Kind::other:
      break;
  }
  return std::nullopt;
}

}  // namespace qat::insert
