// SPDX-License-Identifier: Apache-2.0

package odl

import "testing"

const canary = "bd8db3a8-2b30-4083-a8b3-b3fd46401142"

func TestCanary(t *testing.T) {
	w := newWorld(t)
	if got := w.do("GET", "/networks", "", 200).text; got != `{"networks":[]}` {
		t.Errorf("N1: %s", got)
	}
	w.do("GET", "/networks/"+canary, "", 404)
	w.do("POST", "/networks", `{"network":{"id":"`+canary+`","tenant_id":"`+canary+`","project_id":"`+canary+`","name":"Sync Canary Network","admin_state_up":false}}`, 201)
	if n := w.show("networks", canary); n["name"] != "Sync Canary Network" || n["provider:network_type"] != nil {
		t.Errorf("N3: %v", n)
	}
}
