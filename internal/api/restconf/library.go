// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// The modules themselves as data: ietf-yang-library in its form of today (RFC 8525) and that before (RFC 7895), which RESTCONF's
// clients still ask for, and the text of each module below /rests/yang.
const (
	modulesPath    = "/rests/yang/"
	libraryVersion = "2019-01-04" // revision of ietf-yang-library
	everything     = "all"        // name of the one set of modules, and of the one schema
)

func (t *tree) addLibrary() {
	const library, state = "ietf-yang-library:yang-library", "ietf-yang-library:modules-state"
	t.add(library, source{has: nonconfig, one: func(v *view, _ []string) *yang.Data {
		d := t.entry(library)
		set := d.Put("module-set").Leaf("name", everything)
		for _, m := range t.schema.Modules {
			list := "import-only-module"
			if m.Implement {
				list = "module"
			}
			x := set.Put(list).Leaf("name", m.Name).Leaf("revision", m.Revision).Leaf("namespace", m.Namespace)
			if v.base != "" {
				x.Leaf("location", v.base+modulesPath+moduleFile(m))
			}
		}
		d.Put("schema").Leaf("name", everything).Leaf("module-set", everything)
		d.Put("datastore").Leaf("name", "ietf-datastores:running").Leaf("schema", everything)
		return d.Leaf("content-id", contentID())
	}})
	t.add(state, source{has: nonconfig, one: func(v *view, _ []string) *yang.Data {
		d := t.entry(state).Leaf("module-set-id", contentID())
		for _, m := range t.schema.Modules {
			x := d.Put("module").Leaf("name", m.Name).Leaf("revision", m.Revision)
			if v.base != "" {
				x.Leaf("schema", v.base+modulesPath+moduleFile(m))
			}
			x.Leaf("namespace", m.Namespace).Leaf("conformance-type", map[bool]string{true: "implement", false: "import"}[m.Implement])
		}
		return d
	}})
}

// contentID tells one set of modules from another, by their texts.
var contentID = sync.OnceValue(func() string {
	sum := sha256.New()
	for _, m := range yang.Served().Modules {
		sum.Write([]byte(m.Name + "@" + m.Revision + "\n" + m.Source))
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
})

// moduleFile is a module's name as files of modules are called (RFC 7950 section 5.2), without the extension.
func moduleFile(m *yang.Module) string { return m.Name + "@" + m.Revision }

// module answers with the text of a module. Its revision may be left out.
func (c *call) module(rest []string) error {
	if len(rest) == 1 {
		name, revision, dated := strings.Cut(rest[0], "@")
		if m, ok := c.tree.schema.Module(name); ok && (!dated || m.Revision == revision) {
			c.w.Header().Set("Content-Type", "application/yang")
			c.send(http.StatusOK, []byte(m.Source))
			return nil
		}
	}
	return errMissing
}

// moduleList answers with the names of the modules as the older dialect has them (its section 3.4.4).
func (c *call) moduleList(rest []string) error {
	if len(rest) > 0 {
		return unknown("resource", strings.Join(rest, "/"))
	}
	var list []any
	x := []byte(`<modules xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf">`)
	for _, m := range c.tree.schema.Modules {
		list = append(list, map[string]any{"name": m.Name, "revision": m.Revision, "namespace": m.Namespace})
		x = append(x, "<module><name>"+m.Name+"</name><revision>"+m.Revision+"</revision><namespace>"+m.Namespace+"</namespace></module>"...)
	}
	return c.reply(string(jsonbody.Append(nil, map[string]any{"modules": map[string]any{"module": list}})), string(x)+"</modules>")
}

// version answers with the revision of ietf-yang-library that is used (RFC 8040 section 3.3.3).
func (c *call) version(rest []string) error {
	if len(rest) > 0 {
		return unknown("resource", strings.Join(rest, "/"))
	}
	return c.reply(`{"ietf-restconf:yang-library-version":"`+libraryVersion+`"}`, `<yang-library-version xmlns="`+nsRESTCONF+`">`+libraryVersion+`</yang-library-version>`)
}

// nsRESTCONF is the namespace of what the protocol itself names.
const nsRESTCONF = "urn:ietf:params:xml:ns:yang:ietf-restconf"

// api answers with the root of the protocol (RFC 8040 section 3.3).
func (c *call) api() error {
	return c.reply(`{"ietf-restconf:restconf":{"data":{},"operations":{},"yang-library-version":"`+libraryVersion+`"}}`,
		`<restconf xmlns="`+nsRESTCONF+`"><data/><operations/><yang-library-version>`+libraryVersion+`</yang-library-version></restconf>`)
}

// operations answers with the names of the operations (RFC 8040 section 3.3.2), and calls one.
func (c *call) operations(rest []string) error {
	switch reading := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead; {
	case !reading && len(rest) > 0:
		return c.operation(rest)
	case len(rest) > 0:
		if _, ok := c.tree.schema.RPC(strings.Join(rest, "/")); !ok {
			return unknown("rpc", strings.Join(rest, "/"))
		}
		return c.notOffered(http.MethodOptions, http.MethodPost)
	case !reading:
		return c.notOffered(http.MethodGet, http.MethodHead, http.MethodOptions)
	}
	top := "operations"
	if c.prefixed {
		top = "ietf-restconf:operations"
	}
	j, x := []byte(`{"`+top+`":{`), []byte(`<operations xmlns="`+nsRESTCONF+`">`)
	for i, rpc := range c.tree.schema.RPCs {
		if i > 0 {
			j = append(j, ',')
		}
		j = append(j, `"`+rpc.Module.Name+":"+rpc.Name+`":[null]`...)
		x = append(x, "<"+rpc.Name+` xmlns="`+rpc.Module.Namespace+`"/>`...)
	}
	return c.reply(string(j)+"}}", string(x)+"</operations>")
}

// reply sends a short answer in the form that the client accepts.
func (c *call) reply(json, xml string) error {
	media, ok := c.accepted()
	if !ok {
		return errNotAcceptable(c)
	}
	if isXML(media) {
		json = xml
	}
	c.w.Header().Set("Content-Type", media)
	c.send(http.StatusOK, []byte(json))
	return nil
}
