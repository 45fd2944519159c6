// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
)

// PolicyMarkdown is docs/policy.md: the rules that the resources' declarations make.
func PolicyMarkdown() string {
	var b strings.Builder
	b.WriteString(`# Policy

Generated from ` + "`internal/api/neutron` by `go generate ./internal/api/neutron`" + `; do not edit.

Who may do what is built in, under the names that Neutron's policy has. ` + "`nagare serve --policy-file FILE`" + ` replaces rules by name, in the form of oslo.policy:

    # /etc/nagare/policy.yaml
    "create_network:provider:network_type": "rule:admin_only or role:netops"
    "create_network:provider:physical_network": "rule:admin_only or role:netops"
    "delete_router": "role:manager and rule:owner"
    "context_with_global_access": "role:auditor"

The file is YAML or JSON. It is read at start and again on SIGHUP; a file with a fault is refused as a whole, with line and rule, and at SIGHUP what was in force stays.
` + "`--policy-dir DIR`" + ` adds the files of a directory (as oslo.policy's ` + "`policy_dirs`" + `): they are read after that file in order of their names, hidden ones and what lies in deeper directories left out, and count as one with it;
of a rule that several have the last counts. Errors name file, line and rule.

## Check strings

| check | holds |
|---|---|
| ` + "`role:NAME`" + ` | the caller has the role in his scope |
| ` + "`rule:NAME`" + ` | that rule holds: one of those below, or one of the file's own |
| ` + "`project_id:%(project_id)s`" + ` (or ` + "`tenant_id`" + `) | the caller's project owns the object |
| ` + "`project_id:%(network:project_id)s`" + ` | it owns the network that the object is on; so with ` + "`security_group`, `router`, `subnet`" + ` and ` + "`ext_parent`" + `, what the path is below |
| ` + "`user_id:ID`, `user_domain_id:ID`" + ` | it is that user, one of that domain |
| ` + "`system_scope:all`" + ` | the token is scoped to the whole system |
| ` + "`is_admin:True`" + ` | ` + "`context_is_admin`" + ` holds |
| ` + "`writer:True`" + ` | the caller has a role besides reader |
| ` + "`field:COLLECTION:ATTRIBUTE=VALUE`" + ` | the object (or the one it is on) has the value; ` + "`~REGEXP`" + ` matches its beginning |
| ` + "`'TEXT':%(ATTRIBUTE)s`" + ` | the attribute is the text |
| ` + "`@`, `!`" + `, empty | always, never, always |

They are joined by ` + "`not`, `and`, `or`" + ` and parentheses. A check of something that the object or the caller does not have fails.

- An object that a caller cannot see is 404 to him, whatever the rules of writing say. Who sees what is built in: one's own, what is shared by RBAC policies, external networks,
  ` + "and with `context_is_admin`, `context_is_advsvc` or `context_with_global_access` everything" + `. A rule ` + "`get_X`" + ` hides from that; it adds nothing.
- A request is allowed if the rule of the operation and those of all ruled attributes that it sets hold. A create that gives an attribute its default does not set it.
- Attributes that have no rule below have names of the same form (` + "`create_network:mtu`, `get_port:device_id`" + `) and may be ruled too.
- By what hides from a caller he can neither filter nor sort. A rule about the object counts as hiding for that.

## Rules that others refer to

| rule | built in |
|---|---|
`)
	for i, d := range Rules() {
		if i == len(basicRules) {
			b.WriteString("\n## Rules of operations and attributes\n\n| rule | built in |\n|---|---|\n")
		}
		if d.Check != "@" || i < len(basicRules) || !strings.Contains(d.Name, ":") {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", d.Name, d.Check)
		}
	}
	return b.String()
}
