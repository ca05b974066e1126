// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/connection_stats.h"

#include "gateway/forwarder/attachment_ref.h"

namespace simplon::forwarder {

ipc::ConnectionStats connection_stats(const forward::ConnectionView& view) {
  ipc::ConnectionStats stats;
  stats.domain = view.domain;
  stats.protocol = view.protocol;
  stats.state = static_cast<ipc::ConnectionState>(view.state);
  stats.closing = view.closing;
  stats.source = view.source;
  stats.destination = view.destination;
  stats.source_port = view.source_port;
  stats.destination_port = view.destination_port;
  stats.translated_source = view.translated_source;
  stats.translated_destination = view.translated_destination;
  stats.translated_source_port = view.translated_source_port;
  stats.translated_destination_port = view.translated_destination_port;
  stats.from = ref_of(view.from);
  stats.to = ref_of(view.to);
  stats.packets_out = view.packets_out;
  stats.packets_back = view.packets_back;
  stats.bytes_out = view.bytes_out;
  stats.bytes_back = view.bytes_back;
  stats.age_seconds = view.age_seconds;
  stats.idle_seconds = view.idle_seconds;
  stats.expires_in_seconds = view.expires_in_seconds;
  return stats;
}

forward::ConnectionView connection_view(const ipc::ConnectionStats& stats) {
  forward::ConnectionView view;
  view.domain = stats.domain;
  view.protocol = stats.protocol;
  view.state = static_cast<forward::ConnectionState>(stats.state);
  view.closing = stats.closing;
  view.source = stats.source;
  view.destination = stats.destination;
  view.source_port = stats.source_port;
  view.destination_port = stats.destination_port;
  view.translated_source = stats.translated_source;
  view.translated_destination = stats.translated_destination;
  view.translated_source_port = stats.translated_source_port;
  view.translated_destination_port = stats.translated_destination_port;
  if (stats.from.kind != ipc::AttachmentKind::kNone) view.from = attachment_of(stats.from);
  if (stats.to.kind != ipc::AttachmentKind::kNone) view.to = attachment_of(stats.to);
  view.packets_out = stats.packets_out;
  view.packets_back = stats.packets_back;
  view.bytes_out = stats.bytes_out;
  view.bytes_back = stats.bytes_back;
  view.age_seconds = stats.age_seconds;
  view.idle_seconds = stats.idle_seconds;
  view.expires_in_seconds = stats.expires_in_seconds;
  return view;
}

}  // namespace simplon::forwarder
