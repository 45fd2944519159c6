// SPDX-License-Identifier: Apache-2.0

package ovsdbtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, srv *ovsdbtest.Server) *ovsdb.Session {
	ours, theirs := net.Pipe()
	srv.Serve(theirs)
	s := ovsdb.NewSession(ours, ovsdb.Options{})
	t.Cleanup(func() { s.Close() })
	return s
}

func newServer(t testing.TB, o ovsdbtest.Options) *ovsdbtest.Server {
	srv := ovsdbtest.New(o)
	t.Cleanup(srv.Close)
	return srv
}

// TestSchemaAgreesWithInstalled: what our schema says of a column is what the
// installed Open vSwitch says.
func TestSchemaAgreesWithInstalled(t *testing.T) {
	const file = "/usr/share/openvswitch/vswitch.ovsschema"
	text, err := os.ReadFile(file)
	if err != nil {
		if os.Getenv("NAGARE_NO_OVS") == "1" {
			t.Skip("no Open vSwitch here, and NAGARE_NO_OVS=1")
		}
		t.Fatalf("%v; install openvswitch-switch or set NAGARE_NO_OVS=1", err)
	}
	real, err := ovsdb.ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, ours := range ovsdbtest.Schema().Tables {
		theirs := real.Tables[name]
		if theirs == nil {
			t.Errorf("table %s is not in Open vSwitch", name)
			continue
		}
		if ours.IsRoot != theirs.IsRoot || ours.MaxRows != theirs.MaxRows || !reflect.DeepEqual(ours.Indexes, theirs.Indexes) {
			t.Errorf("table %s: root %v, rows %d, indexes %v; want %v, %d, %v", name, ours.IsRoot, ours.MaxRows, ours.Indexes, theirs.IsRoot, theirs.MaxRows, theirs.Indexes)
		}
		for column, c := range ours.Columns {
			if !reflect.DeepEqual(c, theirs.Columns[column]) {
				t.Errorf("%s.%s is %+v, want %+v", name, column, c, theirs.Columns[column])
			}
		}
	}
	text = ovsdbtest.Schema().AppendJSON(nil)
	if !json.Valid(text) {
		t.Errorf("schema is not JSON: %s", text)
	}
}

func addPort(txn *ovsdb.Txn, bridge ovsdb.Atom, name, kind string, options map[string]string) ovsdb.Ref {
	i := txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String(kind), "options": ovsdb.StringMap(options)})
	p := txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
	if u, ok := bridge.(ovsdb.UUID); ok {
		txn.Mutate("Bridge", ovsdb.ByUUID(u), ovsdb.Add("ports", p))
	}
	return p
}

func addBridge(txn *ovsdb.Txn, name string, fields ovsdb.Fields) ovsdb.Ref {
	p := addPort(txn, nil, name, "internal", nil)
	f := ovsdb.Fields{"name": ovsdb.String(name), "ports": p}
	for k, v := range fields {
		f[k] = v
	}
	b := txn.Insert("Bridge", f)
	txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Add("bridges", b))
	return b
}

func commit(t testing.TB, s *ovsdb.Session, build func(txn *ovsdb.Txn)) *ovsdb.Result {
	t.Helper()
	txn := ovsdb.NewTxn("Open_vSwitch")
	build(txn)
	res, err := s.Commit(deadline(t), txn)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func ofports(srv *ovsdbtest.Server) string {
	var out []string
	for _, row := range srv.Rows("Interface") {
		n, ok := row.Int("ofport")
		text := fmt.Sprintf("%s=%d", row.String("name"), n)
		if !ok {
			text = row.String("name") + "=none"
		}
		if e := row.String("error"); e != "" {
			text += "!"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestVswitchd(t *testing.T) {
	up := true
	srv := newServer(t, ovsdbtest.Options{Seed: 1, Connected: func(target string) bool { return up && target != "tcp:off" }})
	s := connect(t, srv)
	m := ovsdb.NewMirror("Open_vSwitch", ovsdb.SwitchTables())
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	var bridge ovsdb.UUID
	res := commit(t, s, func(txn *ovsdb.Txn) {
		addBridge(txn, "br-int", ovsdb.Fields{"other_config": ovsdb.StringMap(map[string]string{"datapath-id": "00004e0000000007"})})
		txn.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"next_cfg": ovsdb.Int(3)})
	})
	bridge = res.UUID("row2")
	// Insertion order gives the numbers, whatever the order of the set.
	commit(t, s, func(txn *ovsdb.Txn) {
		addPort(txn, bridge, "z", "", nil)
		addPort(txn, bridge, "a", "", nil)
		addPort(txn, bridge, "vx", "vxlan", map[string]string{"remote_ip": "10.0.0.2", "key": "flow"})
		addPort(txn, bridge, "vx2", "vxlan", map[string]string{"remote_ip": "10.0.0.2", "key": "flow"})
		addPort(txn, bridge, "nowhere", "vxlan", nil)
	})
	if got, want := ofports(srv), "a=2 br-int=65534 nowhere=-1! vx2=-1! vx=3 z=1"; got != want {
		t.Errorf("ofports %s, want %s", got, want)
	}
	// The bad tunnel is mended; a freed number is not given again at once.
	commit(t, s, func(txn *ovsdb.Txn) {
		txn.Update("Interface", ovsdb.Where("name", ovsdb.String("nowhere")), ovsdb.Fields{"options": ovsdb.StringMap(map[string]string{"remote_ip": "10.0.0.3"})})
		u, _ := srv.Find("Port", "name", ovsdb.String("a"))
		txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Remove("ports", u))
	})
	commit(t, s, func(txn *ovsdb.Txn) {
		i := txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String("req"), "ofport_request": ovsdb.Int(77)})
		p := txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String("req"), "interfaces": i})
		txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Add("ports", p))
		addPort(txn, bridge, "next", "", nil)
	})
	if got, want := ofports(srv), "br-int=65534 next=5 nowhere=4 req=77 vx2=-1! vx=3 z=1"; got != want {
		t.Errorf("ofports %s, want %s", got, want)
	}
	commit(t, s, func(txn *ovsdb.Txn) {
		on := txn.Insert("Controller", ovsdb.Fields{"target": ovsdb.String("tcp:on")})
		off := txn.Insert("Controller", ovsdb.Fields{"target": ovsdb.String("tcp:off")})
		txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Add("controller", ovsdb.Set{on, off}))
	})
	for target, want := range map[string]bool{"tcp:on": true, "tcp:off": false} {
		_, row := srv.Find("Controller", "target", ovsdb.String(target))
		if got, ok := row.Bool("is_connected"); got != want || !ok {
			t.Errorf("%s is_connected %v", target, got)
		}
	}
	if got := srv.Rows("Bridge")[bridge].String("datapath_id"); got != "00004e0000000007" {
		t.Errorf("datapath_id %s", got)
	}
	if n, _ := srv.Rows("Open_vSwitch")[srv.Root()].Int("cur_cfg"); n != 3 {
		t.Errorf("cur_cfg %d", n)
	}
	// All that reached the mirror as well.
	if err := s.Echo(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"Interface", "Bridge", "Controller"} {
		for u, row := range srv.Rows(table) {
			for _, column := range m.Row(table, u).Columns() {
				if !ovsdb.Equal(m.Row(table, u).Value(column), row.Value(column)) {
					t.Errorf("%s.%s of %s is %v in the mirror, %v in the server", table, column, u, m.Row(table, u).Value(column), row.Value(column))
				}
			}
		}
	}
	srv.RestartVswitchd()
	if got, want := ofports(srv), "br-int=65534 next=4 nowhere=3 req=77 vx2=-1! vx=2 z=1"; got != want {
		t.Errorf("ofports after restart %s, want %s", got, want)
	}
}

// TestOlderSwitch: a schema that lacks columns and tables is served as such.
func TestOlderSwitch(t *testing.T) {
	schema, err := ovsdb.ParseSchema([]byte(`{"name":"Open_vSwitch","version":"7.0.0","tables":{
		"Open_vSwitch":{"isRoot":true,"maxRows":1,"columns":{"bridges":{"type":{"key":{"type":"uuid","refTable":"Bridge"},"min":0,"max":"unlimited"}}}},
		"Bridge":{"columns":{"name":{"type":"string"},"ports":{"type":{"key":{"type":"uuid","refTable":"Port"},"min":0,"max":"unlimited"}}}},
		"Port":{"columns":{"name":{"type":"string"},"interfaces":{"type":{"key":{"type":"uuid","refTable":"Interface"},"min":1,"max":"unlimited"}}}},
		"Interface":{"columns":{"name":{"type":"string"},"type":{"type":"string"},"options":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}},"ofport":{"type":{"key":"integer","min":0,"max":1}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, ovsdbtest.Options{Schema: schema})
	s := connect(t, srv)
	m := ovsdb.NewMirror("Open_vSwitch", ovsdb.SwitchTables())
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	commit(t, s, func(txn *ovsdb.Txn) { addBridge(txn, "br0", nil) })
	if err := s.Echo(deadline(t)); err != nil {
		t.Fatal(err)
	}
	_, row := m.Find("Interface", "name", ovsdb.String("br0"))
	if n, _ := row.Int("ofport"); n != 65534 || row.Has("external_ids") || row.Map("external_ids") != nil {
		t.Errorf("interface %v", row.Fields())
	}
}

// TestHistory: with a history, a session goes on where the last one stopped.
func TestHistory(t *testing.T) {
	srv := newServer(t, ovsdbtest.Options{NoVswitchd: true, History: 4})
	m := ovsdb.NewMirror("Open_vSwitch", ovsdb.SwitchTables())
	names := func(b ovsdb.Batch) (out []string) {
		for _, c := range b.Changes {
			out = append(out, c.Table)
		}
		slices.Sort(out)
		return out
	}
	s := connect(t, srv)
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	commit(t, s, func(txn *ovsdb.Txn) { addBridge(txn, "br0", nil) })
	m.Take()
	s.Close()
	other := connect(t, srv)
	commit(t, other, func(txn *ovsdb.Txn) { addBridge(txn, "br1", nil) })
	commit(t, other, func(txn *ovsdb.Txn) {
		txn.Update("Bridge", ovsdb.Where("name", ovsdb.String("br1")), ovsdb.Fields{"fail_mode": ovsdb.String("secure")})
		txn.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"bridges": ovsdb.Set{mustFind(t, srv, "br1")}})
	})
	s = connect(t, srv)
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	b, _ := m.Take()
	if got := fmt.Sprint(names(b)); !b.Initial || got != "[Bridge Bridge Interface Interface Open_vSwitch Port Port]" {
		t.Errorf("initial %v, changes %s", b.Initial, got)
	}
	if _, row := m.Find("Bridge", "name", ovsdb.String("br1")); row.String("fail_mode") != "secure" || m.Len("Bridge") != 1 {
		t.Errorf("bridge %v", row.Fields())
	}
}

func mustFind(t *testing.T, srv *ovsdbtest.Server, bridge string) ovsdb.UUID {
	u, _ := srv.Find("Bridge", "name", ovsdb.String(bridge))
	if u.IsZero() {
		t.Fatalf("no bridge %s", bridge)
	}
	return u
}

func TestLocalTransact(t *testing.T) {
	srv := newServer(t, ovsdbtest.Options{Root: ovsdb.Fields{"external_ids": ovsdb.StringMap(map[string]string{"system-id": "n1"})}})
	if got, _ := srv.Rows("Open_vSwitch")[srv.Root()].Map("external_ids").Get("system-id"); got != "n1" {
		t.Errorf("system-id %q", got)
	}
	if _, err := srv.Transact(ovsdb.Op{Op: "update", Table: "Bridge", Row: ovsdb.Fields{"fail_mode": ovsdb.Set{}}}, ovsdb.Op{Op: "abort"}); !errors.Is(err, ovsdb.Aborted) {
		t.Errorf("aborted: %v", err)
	}
	var oe *ovsdb.OpError
	if _, err := srv.Transact(ovsdb.Op{Op: "insert", Table: "Open_vSwitch"}); !errors.As(err, &oe) || oe.Op != "commit" || oe.Code != ovsdb.ConstraintViolation {
		t.Errorf("second root row: %v", err)
	}
	us, err := srv.Transact(ovsdb.Op{Op: "insert", Table: "QoS"})
	if err != nil || len(us) != 1 || srv.Rows("QoS")[us[0]] == nil {
		t.Errorf("insert: %v, %v", us, err)
	}
}

// TestThousandServers: they cost little, and closing them leaves nothing.
func TestThousandServers(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all []*ovsdbtest.Server
	for range 1000 {
		srv := ovsdbtest.New(ovsdbtest.Options{})
		txn := ovsdb.NewTxn("Open_vSwitch")
		addBridge(txn, "br-int", nil)
		if _, err := srv.Transact(txn.Ops()...); err != nil {
			t.Fatal(err)
		}
		all = append(all, srv)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / 1000; each > 32<<10 {
		t.Errorf("%d bytes a server", each)
	} else {
		t.Logf("%d bytes a server with one bridge", each)
	}
	for _, srv := range all {
		srv.Close()
	}
}

// TestManage: the switch dials again after the controller hung up, and after it was
// away.
func TestManage(t *testing.T) {
	srv := newServer(t, ovsdbtest.Options{})
	conns := make(chan net.Conn)
	down := errors.New("controller is down")
	tries := 0
	stop := srv.Manage(func(ctx context.Context) (net.Conn, error) {
		if tries++; tries == 2 {
			return nil, down
		}
		ours, theirs := net.Pipe()
		select {
		case conns <- ours:
			return theirs, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, time.Millisecond)
	m := ovsdb.NewMirror(srv.DB(), ovsdb.SwitchTables())
	for range 3 {
		s := ovsdb.NewSession(<-conns, ovsdb.Options{})
		if err := s.Monitor(deadline(t), m); err != nil {
			t.Fatal(err)
		}
		if n := srv.Conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
		s.Close()
	}
	s := ovsdb.NewSession(<-conns, ovsdb.Options{})
	defer s.Close()
	stop()
	<-s.Done()
}
