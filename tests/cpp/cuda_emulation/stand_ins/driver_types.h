#pragma once

struct CUstream_st;
using cudaStream_t = CUstream_st*;
