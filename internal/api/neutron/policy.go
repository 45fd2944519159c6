// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/model"
)

// Rule is one policy rule. The zero Rule denies, so that what nobody decided is closed.
type Rule uint8

const (
	deny                  Rule = iota
	anyone                     // who is authenticated
	adminOnly                  // an administrator
	adminOrService             // or another service of the cloud
	owner                      // the object's project, or an administrator
	ownerOrService             // or a service
	networkOwner               // the network's project, or an administrator
	networkOwnerOrService      // or a service
	eitherOwner                // the project of the object or of its network, or an administrator
	eitherOwnerOrService       // or a service
	ownerManager               // a manager of the object's project, or an administrator
)

// target is what a rule is asked about.
type target struct {
	project model.ProjectID // of the object
	network model.ProjectID // of the network that it is on
}

// may decides a built-in rule for the request's caller. What a policy file says comes before; see permits and ruled.
func (v *view) may(r Rule, t target) bool {
	own := v.who.ProjectID != "" && t.project == v.who.ProjectID
	ownNet := v.who.ProjectID != "" && t.network == v.who.ProjectID
	switch r {
	case anyone:
		return true
	case adminOnly:
		return v.admin
	case adminOrService:
		return v.admin || v.service
	case owner:
		return v.admin || own
	case ownerOrService:
		return v.admin || v.service || own
	case networkOwner:
		return v.admin || ownNet
	case networkOwnerOrService:
		return v.admin || v.service || ownNet
	case eitherOwner:
		return v.admin || own || ownNet
	case eitherOwnerOrService:
		return v.admin || v.service || own || ownNet
	case ownerManager:
		return v.admin || own && slices.Contains(v.who.Roles, "manager")
	}
	return false
}

// seesRule decides whether attributes with the rule are shown to the caller. Only rules that do not depend on an object are used
// for visibility.
func (v *view) seesRule(r Rule) bool {
	switch r {
	case deny, anyone:
		return true // the zero value of an attribute's See means: with its object
	case hidden:
		return false
	}
	return v.global || v.may(r, target{})
}

// forbidden names the rules that were asked: that of the operation, and those of attributes.
func forbidden(operation string, attrs []string) *Error {
	if len(attrs) == 0 {
		return fail(http.StatusForbidden, "PolicyNotAuthorized", "rule:%s is disallowed by policy", operation)
	}
	var b strings.Builder
	b.WriteString("(rule:" + operation)
	for _, a := range attrs {
		b.WriteString(" and rule:" + operation + ":" + a)
	}
	return fail(http.StatusForbidden, "PolicyNotAuthorized", "%s) is disallowed by policy", b.String())
}
