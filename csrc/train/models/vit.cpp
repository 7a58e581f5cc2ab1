#include <torch/nn/init.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "error.h"
#include "train/models/network.h"

namespace qat::train {
namespace {

namespace nn = torch::nn;

struct AttentionImpl : nn::Module {
  AttentionImpl(int64_t dim, int64_t heads) : heads(heads) {
    qkv = register_module("qkv", nn::Linear(dim, 3 * dim));
    proj = register_module("proj", nn::Linear(dim, dim));
  }

  at::Tensor forward(const at::Tensor& x) {
    const int64_t tokens = x.size(1), dim = x.size(2);
    const at::Tensor split = qkv(x).view({-1, tokens, 3, heads, dim / heads});
    const at::Tensor parts = split.permute({2, 0, 3, 1, 4});
    const at::Tensor mixed = at::scaled_dot_product_attention(
        parts.select(0, 0), parts.select(0, 1), parts.select(0, 2));
    return proj(mixed.transpose(1, 2).reshape({-1, tokens, dim}));
  }

  int64_t heads;
  nn::Linear qkv{nullptr}, proj{nullptr};
};
TORCH_MODULE(Attention);

struct EncoderBlockImpl : nn::Module {
  explicit EncoderBlockImpl(const VitSpec& spec) {
    norm1 = register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({spec.dim})));
    attn = register_module("attn", Attention(spec.dim, spec.heads));
    norm2 = register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({spec.dim})));
    fc1 = register_module("fc1", nn::Linear(spec.dim, spec.mlp_dim));
    gelu = register_module("gelu", nn::GELU());
    fc2 = register_module("fc2", nn::Linear(spec.mlp_dim, spec.dim));
    dropout = register_module("dropout", nn::Dropout(spec.dropout));
  }

  at::Tensor forward(at::Tensor x) {
    x = x + dropout(attn(norm1(x)));
    return x + dropout(fc2(gelu(fc1(norm2(x)))));
  }

  nn::LayerNorm norm1{nullptr}, norm2{nullptr};
  Attention attn{nullptr};
  nn::Linear fc1{nullptr}, fc2{nullptr};
  nn::GELU gelu{nullptr};
  nn::Dropout dropout{nullptr};
};
TORCH_MODULE(EncoderBlock);

struct Vit : Network {
  Vit(const VitSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
    const int64_t tokens = (shape[1] / spec.patch) * (shape[2] / spec.patch) + 1;
    patch_embed = register_module(
        "patch_embed",
        nn::Conv2d(nn::Conv2dOptions(shape[0], spec.dim, spec.patch).stride(spec.patch)));
    cls_token = register_parameter("cls_token", at::zeros({1, 1, spec.dim}));
    pos_embed = register_parameter("pos_embed", at::zeros({1, tokens, spec.dim}));
    nn::init::normal_(cls_token, 0.0, 0.02);
    nn::init::normal_(pos_embed, 0.0, 0.02);
    for (int64_t i = 0; i < spec.depth; ++i) blocks->push_back(EncoderBlock(spec));
    register_module("blocks", blocks);
    norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({spec.dim})));
    head = register_module("head", nn::Linear(spec.dim, classes));
  }

  at::Tensor forward(at::Tensor x) override {
    x = patch_embed(x).flatten(2).transpose(1, 2);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1) + pos_embed;
    for (const auto& block : *blocks) x = block->as<EncoderBlock>()->forward(x);
    return head(norm(x).select(1, 0));
  }

  nn::Conv2d patch_embed{nullptr};
  at::Tensor cls_token, pos_embed;
  nn::ModuleList blocks;
  nn::LayerNorm norm{nullptr};
  nn::Linear head{nullptr};
};

}  // namespace

NetworkPtr make_vit(const VitSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  require_images("vit", shape, spec.patch);
  if (shape[1] % spec.patch != 0 || shape[2] % spec.patch != 0) {
    throw Error("model.patch: expected a divisor of the image size " + std::to_string(shape[1]) +
                "x" + std::to_string(shape[2]) + ", got " + std::to_string(spec.patch));
  }
  return std::make_shared<Vit>(spec, shape, classes);
}

}  // namespace qat::train
