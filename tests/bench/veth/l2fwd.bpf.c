// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every frame of the queue goes to its AF_XDP socket; nothing is looked at.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int to_socket(struct xdp_md* ctx) { return (int)bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS); }

char _license[] SEC("license") = "GPL";
