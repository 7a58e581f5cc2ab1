#ifndef QAT_RUNTIME_H
#define QAT_RUNTIME_H
/* Running an int8 checkpoint of qat_ext (docs/format.md) without torch, from C.
 *
 * Functions that can fail return 0 on success; otherwise qat_error() of the same thread says why,
 * and what their last argument points to is left as it was. A null handle or pointer is an error,
 * except where a function says otherwise. No C++ exception leaves the library.
 *
 * Threads: a model never changes and may be used by any number of threads. A context serves one
 * call at a time. Functions that take neither may be called at any time.
 *
 * Tensors are dense and row-major: images [N, C, H, W]. Sizes that depend on the batch N are
 * computed from the `batch` that a call names. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QAT_API __attribute__((visibility("default")))
#else
#define QAT_API
#endif

#define QAT_MAX_RANK 8

typedef enum { /* size of an element: 4, 8, 1, 1, 1 bytes */
               QAT_FLOAT32 = 0,
               QAT_INT64 = 1,
               QAT_BOOL = 2, /* 0 or 1 */
               QAT_UINT8 = 3,
               QAT_INT8 = 4
} qat_type;

typedef struct {
  qat_type type;
  size_t rank;                 /* at most QAT_MAX_RANK */
  int64_t shape[QAT_MAX_RANK]; /* at the batch that was asked for */
  size_t bytes;                /* of the whole tensor */
} qat_tensor_info;

typedef struct qat_model qat_model;
typedef struct qat_context qat_context;

/* The text of this thread's latest failure, "" before the first one. Valid until the thread's next
 * failure. */
QAT_API const char* qat_error(void);

/* Reads and checks a checkpoint, packs its weights and chooses the fastest kernels that pass a
 * self-test. Models with operators that only torch has (`aten` nodes) are refused. */
QAT_API int qat_model_load(const char* path, qat_model** model);
/* The same from a file's bytes, which may be freed afterwards. */
QAT_API int qat_model_load_memory(const void* bytes, size_t size, qat_model** model);
/* Null is allowed. Contexts of the model stay usable. */
QAT_API void qat_model_free(qat_model* model);

/* 0 for a null model. */
QAT_API size_t qat_model_input_count(const qat_model* model);
QAT_API size_t qat_model_output_count(const qat_model* model);
/* Owned by the model; null where the index is out of range. */
QAT_API const char* qat_model_input_name(const qat_model* model, size_t index);
QAT_API const char* qat_model_output_name(const qat_model* model, size_t index);
QAT_API int qat_model_input_info(const qat_model* model, size_t index, int64_t batch,
                                 qat_tensor_info* info);
QAT_API int qat_model_output_info(const qat_model* model, size_t index, int64_t batch,
                                  qat_tensor_info* info);
/* "avx512_vnni", "avx2", "neon_i8mm", "neon_dotprod", "neon" or "portable"; all of them give the
 * same bits. */
QAT_API const char* qat_model_instruction_set(const qat_model* model);

/* threads: of each run; 0 takes OpenMP's setting of the thread that runs. */
QAT_API int qat_context_create(const qat_model* model, int threads, qat_context** context);
/* Null is allowed. */
QAT_API void qat_context_free(qat_context* context);

/* Runs the model on `batch` samples. inputs and outputs hold one pointer per input and output of
 * the model, to buffers of the caller with as many bytes as qat_model_*_info says at this batch;
 * they are neither kept nor freed. The first run at a batch allocates the memory that all later
 * runs at that batch reuse (the latest batch sizes are kept). */
QAT_API int qat_run(qat_context* context, int64_t batch, const void* const* inputs,
                    void* const* outputs);

#ifdef __cplusplus
}
#endif
#endif
