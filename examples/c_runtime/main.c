/* Runs an int8 checkpoint on zeros, once and then timed: c_runtime model.safetensors [batch] */
#include <qat_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void check(int status) {
  if (status == 0) return;
  fprintf(stderr, "%s\n", qat_error());
  exit(1);
}

int main(int argc, char** argv) {
  const int64_t batch = argc > 2 ? atoll(argv[2]) : 1;
  if (argc < 2 || batch < 1) {
    fprintf(stderr, "usage: c_runtime model.safetensors [batch], a number from 1\n");
    return 2;
  }
  qat_model* model;
  qat_context* context;
  qat_tensor_info in, out;
  check(qat_model_load(argv[1], &model));
  check(qat_context_create(model, 1, &context));
  if (qat_model_input_count(model) != 1 || qat_model_output_count(model) != 1) return 3;
  check(qat_model_input_info(model, 0, batch, &in));
  check(qat_model_output_info(model, 0, batch, &out));
  void* input = calloc(1, in.bytes);
  void* output = malloc(out.bytes);
  check(qat_run(context, batch, (const void* const*)&input, &output));
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  check(qat_run(context, batch, (const void* const*)&input, &output));
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%s: first value %g, %.2f ms on %s\n", qat_model_output_name(model, 0), *(float*)output,
         (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) * 1e-6,
         qat_model_instruction_set(model));
  free(input);
  free(output);
  qat_context_free(context);
  qat_model_free(model);
  return 0;
}
