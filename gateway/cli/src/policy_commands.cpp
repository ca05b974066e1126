// SPDX-License-Identifier: GPL-2.0-or-later
#include <memory>
#include <string>

#include "gateway/cli/src/commands.h"

namespace simplon::cli {

void declare_policy(Commands& commands) {
  const auto acl_name = std::make_shared<std::string>();
  CLI::App* acl = commands.noun("acl", "access lists: who may talk to whom", "simplon acl show");
  CLI::App* show_acl = commands.command(*acl, "show", "all lists, or the rules of one with what they decided",
                                        "simplon acl show\nsimplon acl show web");
  commands.values(show_acl->add_option("NAME", *acl_name, "an access list"), Values::kAcls);
  for (CLI::App* one : {acl, show_acl}) {
    commands.on(one, [&session = commands.session(), acl_name] {
      return session.show_objects({"/v1/acls", "acls", "access list"}, *acl_name, render_acls, render_acl);
    });
  }

  const auto domain = std::make_shared<std::string>();
  CLI::App* nat = commands.noun("nat", "whose addresses are translated, and to what", "simplon nat show");
  CLI::App* show_nat =
      commands.command(*nat, "show", "the rules of all domains, or of one", "simplon nat show --domain prod");
  for (CLI::App* one : {nat, show_nat}) {
    commands.values(one->add_option("--domain", *domain, "only this domain")->type_name("NAME"), Values::kDomains);
    commands.on(one, [&session = commands.session(), domain] {
      return session.show_objects({"/v1/nat", "domains", "domain with NAT"}, *domain, render_nat);
    });
  }

  CLI::App* connection =
      commands.noun("connection", "what is remembered of who talks to whom", "simplon connection show");
  CLI::App* show = commands.command(*connection, "show", "up to 1,000 connections, and how many there are",
                                    "simplon connection show");
  for (CLI::App* one : {connection, show}) {
    commands.on(one, [&session = commands.session()] { return session.show("/v1/connections", render_connections); });
  }
}

}  // namespace simplon::cli
