#include "train/session.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

namespace qat::train {

Session open_session(const Job& job) {
  if (job.threads > 0) at::set_num_threads(static_cast<int>(job.threads));
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  at::manual_seed(static_cast<uint64_t>(job.seed));
  Session session;
  session.job = job;
  session.data = load_data(job.data, static_cast<uint64_t>(job.seed));
  session.network = make_network(job.model, session.data.shape, session.data.classes);
  const BatchOptions training{.batch = job.data.batch,
                              .shuffle = true,
                              .flip = job.data.flip,
                              .shift = job.data.shift,
                              .seed = static_cast<uint64_t>(job.seed)};
  // Large enough that a call's fixed cost vanishes, small enough for the caches of the activations.
  const BatchOptions testing{.batch = 250};
  session.train = std::make_unique<TensorBatches>(session.data.train, session.data, training);
  session.validation =
      std::make_unique<TensorBatches>(session.data.validation, session.data, testing);
  session.test = std::make_unique<TensorBatches>(session.data.test, session.data, testing);
  return session;
}

NamedTensors parameters_of(const Network& network) {
  NamedTensors all;
  for (const auto& item : network.named_parameters()) all.emplace_back(item.key(), item.value());
  return all;
}

NamedTensors tensors_of(const Network& network) {
  NamedTensors all = parameters_of(network);
  for (const auto& item : network.named_buffers()) all.emplace_back(item.key(), item.value());
  return all;
}

at::Tensor example_of(const Session& session) {
  TensorBatches rows(session.data.train, session.data, {.batch = 4});
  return rows.batch(0, 0).inputs;
}

}  // namespace qat::train
