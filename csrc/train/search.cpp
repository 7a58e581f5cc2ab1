#include "train/search.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace qat::train {
namespace {

using Layers = std::vector<std::vector<Choice>>;

// Note [Exact search]
// Dynamic programming over the layers keeps every (cost, loss) of the first k layers that no other
// one beats in both: exact, without a grid of costs. For any price p >= 0 the rest of the layers
// adds at least  min sum(loss + p * cost) - p * (what is left of the budget),  a sum of separate
// minima (Lagrangian relaxation). A state whose bound is above a solution that is known cannot be
// part of the best one and is dropped: of 60 layers with 5 choices each at most 330 states remain
// at a time, where dominance alone keeps 3300.

// A price and what it says about the layers from each one to the last.
struct Relaxation {
  double price = 0;
  std::vector<double> rest;        // minimal sum of loss + price * cost
  std::vector<int64_t> rest_cost;  // smallest possible cost
  int64_t cost = 0;                // of the relaxed solution
  double loss = 0;
};

Relaxation relax(const Layers& layers, double price) {
  Relaxation found;
  found.price = price;
  found.rest.assign(layers.size() + 1, 0.0);
  found.rest_cost.assign(layers.size() + 1, 0);
  for (size_t i = layers.size(); i-- > 0;) {
    const Choice* best = nullptr;
    int64_t cheapest = layers[i][0].cost;
    for (const Choice& choice : layers[i]) {
      cheapest = std::min(cheapest, choice.cost);
      const auto value = [&](const Choice& c) {
        return c.loss + price * static_cast<double>(c.cost);
      };
      const bool better = best == nullptr || value(choice) < value(*best) ||
                          (value(choice) == value(*best) && choice.cost < best->cost);
      if (better) best = &choice;
    }
    found.rest[i] = found.rest[i + 1] + best->loss + price * static_cast<double>(best->cost);
    found.rest_cost[i] = found.rest_cost[i + 1] + cheapest;
    found.cost += best->cost;
    found.loss += best->loss;
  }
  return found;
}

// The relaxation with about the smallest price whose solution keeps the budget.
Relaxation meet_budget(const Layers& layers, int64_t budget) {
  Relaxation found = relax(layers, 0.0);
  if (found.cost <= budget) return found;
  // Costs are whole numbers: at a price above every difference of losses each layer takes its
  // cheapest choice.
  double low = 0.0, high = 1.0;
  for (const auto& layer : layers) {
    const auto [least, most] =
        std::minmax_element(layer.begin(), layer.end(),
                            [](const Choice& a, const Choice& b) { return a.loss < b.loss; });
    high = std::max(high, 2.0 * (most->loss - least->loss));
  }
  found = relax(layers, high);
  constexpr int kHalvings = 100;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = 0.5 * (low + high);
    Relaxation tried = relax(layers, middle);
    if (tried.cost <= budget) {
      high = middle;
      found = std::move(tried);
    } else {
      low = middle;
    }
  }
  return found;
}

struct State {
  int64_t cost = 0;
  double loss = 0;
  size_t parent = 0, choice = 0;
};

// Only states that no cheaper or equally cheap one beats, by ascending cost.
std::vector<State> undominated(std::vector<State> states) {
  std::stable_sort(states.begin(), states.end(), [](const State& a, const State& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss;
  });
  std::vector<State> kept;
  for (const State& state : states) {
    if (kept.empty() || state.loss < kept.back().loss) kept.push_back(state);
  }
  return kept;
}

void check(const Layers& layers, int64_t budget) {
  int64_t least = 0;
  for (const auto& layer : layers) {
    if (layer.empty()) throw Error("search: a layer has no choices");
    int64_t cheapest = layer[0].cost;
    for (const Choice& choice : layer) {
      if (!std::isfinite(choice.loss)) throw Error("search: a loss is not finite");
      cheapest = std::min(cheapest, choice.cost);
    }
    least += cheapest;
  }
  if (least > budget) {
    throw Error("search: the budget is " + std::to_string(budget) + ", the smallest possible is " +
                std::to_string(least));
  }
}

}  // namespace

std::vector<size_t> choose(const Layers& layers, int64_t budget) {
  check(layers, budget);
  const Relaxation bound = meet_budget(layers, budget);
  // Room for the rounding of sums in another order.
  double magnitude = bound.price * static_cast<double>(budget);
  for (const auto& layer : layers) {
    double largest = 0;
    for (const Choice& choice : layer) largest = std::max(largest, std::abs(choice.loss));
    magnitude += largest;
  }
  const double known = bound.loss + 1e-9 * magnitude;
  std::vector<std::vector<State>> table{{State{}}};
  for (size_t i = 0; i < layers.size(); ++i) {
    std::vector<State> next;
    for (size_t parent = 0; parent < table[i].size(); ++parent) {
      for (size_t choice = 0; choice < layers[i].size(); ++choice) {
        const State state{table[i][parent].cost + layers[i][choice].cost,
                          table[i][parent].loss + layers[i][choice].loss, parent, choice};
        const int64_t left = budget - state.cost;
        if (left < bound.rest_cost[i + 1]) continue;
        const double least =
            state.loss + bound.rest[i + 1] - bound.price * static_cast<double>(left);
        if (least <= known) next.push_back(state);
      }
    }
    table.push_back(undominated(std::move(next)));
  }
  // The last state has the smallest loss: losses fall with rising cost.
  std::vector<size_t> chosen(layers.size());
  size_t at = table.back().size() - 1;
  for (size_t i = layers.size(); i-- > 0;) {
    chosen[i] = table[i + 1][at].choice;
    at = table[i + 1][at].parent;
  }
  return chosen;
}

}  // namespace qat::train
