// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Neutron is the database of a Neutron with networking-odl, and its journal. Its methods may be used from several goroutines,
// as those of several API processes are: one lock stands for the database.
type Neutron struct {
	URL            string // scheme, host and port of the controller
	User, Password string
	HTTP           *http.Client
	Now            time.Time                           // moved by the test, under no lock, while no worker works
	Told           func(r *Row, code int, text []byte) // hears of each answer, with code 0 if it came too late; may be nil

	Sent, Refused, Syncs int // attempts, those of them that failed with a status or too late, full synchronisations

	mu      sync.Mutex
	objects map[Kind]map[string]Object
	journal journal
	made    int                        // objects so far: ids, addresses and names follow
	ids     map[string]string          // of objects to come, by name
	macs    map[string]string          // of ports to come, by name
	used    map[string]map[string]bool // addresses by subnet: none is given out twice, so that no two ports ever meet in one
	next    map[string]string          // where to look for a free one
}

// New makes an empty Neutron. What http's transport does, happens to its requests.
func New(url string, client *http.Client, user, password string) *Neutron {
	n := &Neutron{URL: url, User: user, Password: password, HTTP: client, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		objects: map[Kind]map[string]Object{}, journal: newJournal(), ids: map[string]string{}, macs: map[string]string{},
		used: map[string]map[string]bool{}, next: map[string]string{}}
	for _, k := range SyncOrder {
		n.objects[k] = map[string]Object{}
	}
	return n
}

// Fix gives the object that is to be created with a name its id, and, if it is a port, its MAC address.
func (n *Neutron) Fix(name, id, mac string) {
	n.ids[name] = id
	if mac != "" {
		n.macs[name] = mac
	}
}

// Object is a copy of an object as users of Neutron see it; nil if there is none.
func (n *Neutron) Object(k Kind, id string) Object {
	n.mu.Lock()
	defer n.mu.Unlock()
	o, ok := n.objects[k][id]
	if !ok {
		return nil
	}
	return o.clone()
}

// IDs are the ids of a kind, in order.
func (n *Neutron) IDs(k Kind) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return sorted(n.objects[k])
}

// Rows counts the journal's rows of a state.
func (n *Neutron) Rows(s State) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch s {
	case Pending:
		return n.journal.queue.Len()
	case Processing:
		return len(n.journal.processing)
	}
	return len(n.journal.failed)
}

// Open are copies of the journal's rows of a state, in order.
func (n *Neutron) Open(s State) []Row {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Row
	for _, r := range n.journal.open(s) {
		out = append(out, *r)
	}
	return out
}

// stamp is a time as the API writes it.
func (n *Neutron) stamp() string { return n.Now.UTC().Format("2006-01-02T15:04:05Z") }

// create adds an object and its row. attrs are what distinguishes it.
func (n *Neutron) create(k Kind, tenant, name string, attrs Object) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	id, fixed := n.ids[name]
	if !fixed {
		id = fmt.Sprintf("%08x-%04x-4000-8000-%012x", 0x10000000+n.made*0x10001, len(n.ids)&0xffff, n.made)
	}
	delete(n.ids, name)
	o := Object{"id": id, "tenant_id": tenant, "project_id": tenant, "name": name, "description": "", "standard_attr_id": n.made + 1, "tags": []any{},
		"created_at": n.stamp(), "updated_at": n.stamp(), "revision_number": 0}
	for key, v := range attrs {
		o[key] = v
	}
	if own := attrs.str("id"); own != "" {
		id = own
	}
	n.objects[k][id] = o
	n.journal.add(k, Create, id, liveBody(k, Create, o), o)
	return id
}

// update changes an object and adds a row. same leaves its revision number as it is, as the second change of a binding does.
func (n *Neutron) update(k Kind, id string, attrs Object, same ...bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.objects[k][id]
	for key, v := range attrs {
		o[key] = v
	}
	if len(same) == 0 || !same[0] {
		o["revision_number"] = o["revision_number"].(int) + 1
		o["updated_at"] = n.stamp()
	}
	n.journal.add(k, Update, id, liveBody(k, Update, o), o)
}

// remove deletes an object and adds a row.
func (n *Neutron) remove(k Kind, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.objects[k][id]
	delete(n.objects[k], id)
	n.journal.add(k, Delete, id, nil, o)
}

// find lists the ids of a kind whose attribute has a value.
func (n *Neutron) find(k Kind, key string, value any) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, id := range sorted(n.objects[k]) {
		if n.objects[k][id][key] == value {
			out = append(out, id)
		}
	}
	return out
}

// Overtaken reports whether a late request can do no harm to a server that keeps to the contract: a delete, an update with a
// revision that newer ones have followed, or the create of a port that is there still, which has no revision.
func (n *Neutron) Overtaken(method, path, body string) bool {
	if method == http.MethodDelete {
		return true
	}
	var sent map[string]struct {
		ID       string `json:"id"`
		Revision *int   `json:"revision_number"`
	}
	if method == http.MethodGet || json.Unmarshal([]byte(body), &sent) != nil {
		return false
	}
	if method == http.MethodPost {
		p := sent[resources[Port].one]
		return p.Revision == nil && n.Object(Port, p.ID) != nil
	}
	for _, k := range SyncOrder {
		id, ok := strings.CutPrefix(path, basePath+resources[k].path+"/")
		if !ok {
			continue
		}
		o := n.Object(k, id)
		r := sent[resources[k].one].Revision
		return o == nil || r != nil && *r < o["revision_number"].(int)
	}
	return false
}
