#pragma once
// State that is one number in a tensor of one element, in host memory: reading it by item() and
// writing it by fill_() takes ATen as long as a small layer takes to compute.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace qat {

template <typename T>
T number(const at::Tensor& one) {
  return *one.const_data_ptr<T>();
}

template <typename T>
void set_number(const at::Tensor& one, T value) {
  *one.mutable_data_ptr<T>() = value;
}

template <typename T>
at::Tensor one_number(T value) {
  const at::Tensor one = at::empty({1}, c10::CppTypeToScalarType<T>::value);
  set_number(one, value);
  return one;
}

}  // namespace qat
