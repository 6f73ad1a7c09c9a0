#!/usr/bin/env python3
"""What PyTorch's scaled_dot_product_attention takes for the prefill cases of cuda_ops.cpp, on contiguous keys."""
import json

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def median_us(body, repeats=25):
    for _ in range(3):
        body()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        body()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return sorted(times)[repeats // 2]


def main():
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}))
    for tokens, heads, kv_heads, dim in [(8192, 32, 8, 128), (32768, 32, 8, 128), (8192, 32, 8, 64), (8192, 16, 8, 256)]:
        q = torch.randn(1, heads, tokens, dim, device="cuda", dtype=torch.bfloat16)
        k, v = (torch.randn(1, kv_heads, tokens, dim, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        for backend in [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]:
            try:
                with sdpa_kernel(backend):
                    us = median_us(lambda: scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
            except RuntimeError as error:
                print(json.dumps({"op": f"{backend.name} {tokens} d{dim}", "error": str(error)[:200]}))
                continue
            flops = 4 * heads * dim * tokens * (tokens + 1) / 2
            print(json.dumps({"op": f"{backend.name} causal {tokens} d{dim}", "us": us, "tflop_s": flops / us / 1e6}))


if __name__ == "__main__":
    main()
