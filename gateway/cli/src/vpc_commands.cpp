// SPDX-License-Identifier: GPL-2.0-or-later
#include <memory>

#include "gateway/cli/src/change.h"
#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/edit.h"

namespace simplon::cli {
namespace {

struct Options {
  std::string name;
  VpcOptions vpc;
  EndpointOptions endpoint;
  ChangeOptions change;
};
using Shared = std::shared_ptr<Options>;

void declare_vpc_add(Commands& commands, CLI::App& noun, const Shared& options) {
  CLI::App* add =
      commands.command(noun, "add", "add a VPC to the document",
                       "simplon vpc add red --domain prod --vni 100 --prefix 10.20.0.0/16 --gateway 10.20.0.1/16");
  VpcOptions& vpc = options->vpc;
  add->add_option("NAME", vpc.name, "of the new VPC")->required();
  commands.values(add->add_option("--domain", vpc.domain, "routing domain")->required()->type_name("NAME"),
                  Values::kDomains);
  add->add_flag("--new-domain", vpc.new_domain, "add the domain if there is none of this name");
  add->add_option("--vni", vpc.vni, "VXLAN network identifier")->required()->type_name("VNI");
  add->add_option("--prefix", vpc.prefixes, "network of the VPC")
      ->required()
      ->type_name("PREFIX")
      ->allow_extra_args(false);
  add->add_option("--gateway", vpc.gateway, "our address in it")->type_name("ADDRESS/LENGTH")->allow_extra_args(false);
  add->add_option("--gateway-mac", vpc.gateway_mac, "default: made from the VNI")->type_name("MAC");
  add->add_option("--mtu", vpc.mtu, "inner IP bytes")->type_name("BYTES");
  add_change_options(commands, add, options->change);
  commands.on(add, [&session = commands.session(), options] {
    return edit_document(session, options->change, "vpc add " + options->vpc.name,
                         [&](GatewayConfig& config) { return add_vpc(config, options->vpc); });
  });
}

void declare_endpoint(Commands& commands) {
  Session& session = commands.session();
  const auto options = std::make_shared<Options>();
  CLI::App* endpoint = commands.noun("endpoint", "VMs: inner address, MAC, and the VTEP they are behind",
                                     "simplon endpoint show red");
  CLI::App* show = commands.command(*endpoint, "show", "all endpoints, or those of a VPC",
                                    "simplon endpoint show\nsimplon endpoint show red");
  commands.values(show->add_option("VPC", options->name, "a VPC"), Values::kVpcs);
  for (CLI::App* one : {endpoint, show}) {
    commands.on(one, [&session, options] {
      return session.show_objects({"/v1/vpcs", "vpcs", "VPC"}, options->name, render_endpoints);
    });
  }
  CLI::App* add = commands.command(*endpoint, "add", "add an endpoint to a VPC",
                                   "simplon endpoint add red 10.20.0.5 --mac 02:00:00:00:00:05 --vtep 192.0.2.11");
  commands.values(add->add_option("VPC", options->endpoint.vpc, "a VPC")->required(), Values::kVpcs);
  add->add_option("ADDRESS", options->endpoint.address, "of the VM")->required();
  add->add_option("--mac", options->endpoint.mac, "of the VM")->required()->type_name("MAC");
  add->add_option("--vtep", options->endpoint.vtep, "of its compute host")->required()->type_name("ADDRESS");
  add_change_options(commands, add, options->change);
  commands.on(add, [&session, options] {
    return edit_document(session, options->change,
                         "endpoint add " + options->endpoint.vpc + " " + options->endpoint.address,
                         [&](GatewayConfig& config) { return add_endpoint(config, options->endpoint); });
  });
  CLI::App* remove = commands.command(*endpoint, "remove", "remove an endpoint from a VPC",
                                      "simplon endpoint remove red 10.20.0.5");
  commands.values(remove->add_option("VPC", options->endpoint.vpc, "a VPC")->required(), Values::kVpcs);
  commands.values(remove->add_option("ADDRESS", options->endpoint.address, "of the VM")->required(),
                  Values::kEndpoints);
  add_change_options(commands, remove, options->change);
  commands.on(remove, [&session, options] {
    const auto& [vpc, address, mac, vtep] = options->endpoint;
    return edit_document(
        session, options->change, "endpoint remove " + vpc + " " + address,
        [&vpc = vpc, &address = address](GatewayConfig& config) { return remove_endpoint(config, vpc, address); },
        "Remove endpoint " + address + " of VPC " + vpc + "?");
  });
}

}  // namespace

void declare_vpc(Commands& commands) {
  Session& session = commands.session();
  const auto options = std::make_shared<Options>();
  CLI::App* vpc = commands.noun("vpc", "VPCs, their tunnel IDs (VNI) and endpoints", "simplon vpc show red");
  CLI::App* show =
      commands.command(*vpc, "show", "all VPCs, or one in full", "simplon vpc show\nsimplon vpc show red");
  commands.values(show->add_option("NAME", options->name, "a VPC"), Values::kVpcs);
  for (CLI::App* one : {vpc, show}) {
    commands.on(one, [&session, options] {
      return session.show_objects({"/v1/vpcs", "vpcs", "VPC"}, options->name, render_vpcs, render_vpc);
    });
  }
  declare_vpc_add(commands, *vpc, options);
  CLI::App* remove =
      commands.command(*vpc, "remove", "remove a VPC and its endpoints from the document", "simplon vpc remove red");
  commands.values(remove->add_option("NAME", options->name, "a VPC")->required(), Values::kVpcs);
  add_change_options(commands, remove, options->change);
  commands.on(remove, [&session, options] {
    return edit_document(
        session, options->change, "vpc remove " + options->name,
        [&](GatewayConfig& config) { return remove_vpc(config, options->name); },
        "Remove VPC " + options->name + " and its endpoints?");
  });
  declare_endpoint(commands);
}

}  // namespace simplon::cli
