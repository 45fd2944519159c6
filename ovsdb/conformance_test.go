// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

const db = "Open_vSwitch"

// backend is a server to hold the client against; the same tests run against the
// in-memory one and a real ovsdb-server, so each is also a test of the former.
type backend struct {
	dial func(t *testing.T) net.Conn
}

func eachBackend(t *testing.T, f func(t *testing.T, b backend)) {
	t.Run("memory", func(t *testing.T) {
		srv := ovsdbtest.New(ovsdbtest.Options{NoVswitchd: true})
		t.Cleanup(srv.Close)
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		srv.Listen(l)
		f(t, backend{func(t *testing.T) net.Conn { return dial(t, "unix:"+l.Addr().String()) }})
	})
	t.Run("real", func(t *testing.T) {
		r := startReal(t)
		f(t, backend{func(t *testing.T) net.Conn { return dial(t, "unix:"+r.socket) }})
	})
}

func dial(t *testing.T, method string) net.Conn {
	t.Helper()
	nc, err := ovsdb.Dial(deadline(t), method, nil)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// deadline is a context that ends well before the test binary's own time-out.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (b backend) session(t *testing.T) *ovsdb.Session {
	t.Helper()
	return session(t, b.dial(t))
}

func session(t *testing.T, nc net.Conn) *ovsdb.Session {
	t.Helper()
	s := ovsdb.NewSession(nc, ovsdb.Options{})
	t.Cleanup(func() { s.Close() })
	return s
}

// older hides the newest monitor methods from the server, which then answers that
// it does not know them: version 3 hides none, 2 monitor_cond_since, 1 both.
type older struct {
	net.Conn
	version int
}

func (o older) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	if o.version < 3 {
		q = bytes.ReplaceAll(q, []byte(`"monitor_cond_since"`), []byte(`"monitor_cond_xxxxx"`))
	}
	if o.version < 2 {
		q = bytes.ReplaceAll(q, []byte(`"monitor_cond"`), []byte(`"monitor_xxxx"`))
	}
	return o.Conn.Write(q)
}

func must(t *testing.T, res *ovsdb.Result, err error) *ovsdb.Result {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// rootOf fetches the Open_vSwitch row's UUID.
func rootOf(t *testing.T, s *ovsdb.Session) ovsdb.UUID {
	t.Helper()
	txn := ovsdb.NewTxn(db)
	i := txn.Select("Open_vSwitch", ovsdb.All(), "_uuid")
	res, err := s.Commit(deadline(t), txn)
	rows := must(t, res, err).Rows(i)
	if len(rows) != 1 {
		t.Fatalf("%d Open_vSwitch rows", len(rows))
	}
	u, _ := rows[0].UUID("_uuid")
	return u
}

// addBridge makes a bridge with its own port and interface.
func addBridge(t *testing.T, s *ovsdb.Session, root ovsdb.UUID, name string) (bridge, port, iface ovsdb.UUID) {
	t.Helper()
	txn := ovsdb.NewTxn(db)
	i := txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String("internal")})
	p := txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
	b := txn.Insert("Bridge", ovsdb.Fields{"name": ovsdb.String(name), "ports": p, "datapath_type": ovsdb.String("netdev")})
	txn.Mutate("Open_vSwitch", ovsdb.ByUUID(root), ovsdb.Add("bridges", b))
	res, err := s.Commit(deadline(t), txn)
	must(t, res, err)
	return res.UUID(b), res.UUID(p), res.UUID(i)
}

func count(t *testing.T, s *ovsdb.Session, table string) int {
	t.Helper()
	txn := ovsdb.NewTxn(db)
	i := txn.Select(table, ovsdb.All(), "_uuid")
	res, err := s.Commit(deadline(t), txn)
	return len(must(t, res, err).Rows(i))
}

func TestListAndSchema(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		s := b.session(t)
		names, err := s.ListDbs(deadline(t))
		found := false
		for _, name := range names {
			found = found || name == db
		}
		if err != nil || !found {
			t.Errorf("databases %v, %v", names, err)
		}
		schema, err := s.GetSchema(deadline(t), db)
		if err != nil {
			t.Fatal(err)
		}
		if c := schema.Tables["Interface"].Columns["ofport"]; c == nil || c.Scalar() || c.Max != 1 || c.Key.Type != "integer" {
			t.Errorf("ofport is %+v", c)
		}
		if c := schema.Tables["Mirror"].Columns["output_port"]; !c.Key.RefWeak || c.Key.RefTable != "Port" {
			t.Errorf("output_port is %+v", c)
		}
		var fault *ovsdb.ServerError
		if _, err := s.GetSchema(deadline(t), "nope"); !errors.As(err, &fault) {
			t.Errorf("schema of an unknown database: %v", err)
		}
		if err := s.Echo(deadline(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestTransactions(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		s := b.session(t)
		ctx := deadline(t)
		root := rootOf(t, s)
		bridge, port, _ := addBridge(t, s, root, "br0")

		run := func(build func(txn *ovsdb.Txn)) (*ovsdb.Result, error) {
			txn := ovsdb.NewTxn(db)
			build(txn)
			return s.Commit(ctx, txn)
		}
		read := func(table string, u ovsdb.UUID) *ovsdb.Row {
			t.Helper()
			res, err := run(func(txn *ovsdb.Txn) { txn.Select(table, ovsdb.ByUUID(u)) })
			if rows := must(t, res, err).Rows(0); len(rows) == 1 {
				return rows[0]
			}
			return nil
		}

		// A port of ten in one transaction, bound by named-uuid.
		var refs []ovsdb.Ref
		res, err := run(func(txn *ovsdb.Txn) {
			var set ovsdb.Set
			for i := range 10 {
				name := ovsdb.String(fmt.Sprintf("p%d", i))
				ifc := txn.Insert("Interface", ovsdb.Fields{"name": name})
				ref := txn.Insert("Port", ovsdb.Fields{"name": name, "interfaces": ifc})
				refs, set = append(refs, ref), append(set, ref)
			}
			txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Add("ports", set))
			txn.Comment("ten ports")
		})
		if must(t, res, err).Count(20) != 1 {
			t.Errorf("mutate matched %d", res.Count(20))
		}
		if got := read("Bridge", bridge).UUIDs("ports"); len(got) != 11 {
			t.Errorf("%d ports", len(got))
		}
		p3 := res.UUID(refs[3])
		if got := read("Port", p3).String("name"); got != "p3" {
			t.Errorf("port 3 is %q", got)
		}

		// Update, mutate of maps and sets, conditions.
		_, err = run(func(txn *ovsdb.Txn) {
			txn.Update("Bridge", ovsdb.Where("name", ovsdb.String("br0")), ovsdb.Fields{
				"fail_mode": ovsdb.String("secure"), "flood_vlans": ovsdb.Set{ovsdb.Int(3), ovsdb.Int(1), ovsdb.Int(2)},
				"external_ids": ovsdb.StringMap(map[string]string{"a": "1", "b": "2"}), "stp_enable": ovsdb.Bool(true)})
			txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Put("external_ids", "a", "9")...)
			txn.Mutate("Bridge", ovsdb.ByUUID(bridge),
				ovsdb.Add("external_ids", ovsdb.StringMap(map[string]string{"b": "ignored", "c": "3"})),
				ovsdb.Remove("flood_vlans", ovsdb.Int(2)), ovsdb.Add("flood_vlans", ovsdb.Set{ovsdb.Int(7)}))
			txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Mutation{Column: "next_cfg", Mutator: "+=", Value: ovsdb.Int(5)},
				ovsdb.Mutation{Column: "next_cfg", Mutator: "*=", Value: ovsdb.Int(3)},
				ovsdb.Mutation{Column: "next_cfg", Mutator: "-=", Value: ovsdb.Int(1)},
				ovsdb.Mutation{Column: "next_cfg", Mutator: "/=", Value: ovsdb.Int(4)},
				ovsdb.Mutation{Column: "next_cfg", Mutator: "%=", Value: ovsdb.Int(2)})
		})
		must(t, nil, err)
		row := read("Bridge", bridge)
		want := ovsdb.StringMap(map[string]string{"a": "9", "b": "2", "c": "3"})
		if !ovsdb.Equal(row.Map("external_ids"), want) || !ovsdb.Equal(row.Set("flood_vlans"), ovsdb.Set{ovsdb.Int(1), ovsdb.Int(3), ovsdb.Int(7)}) ||
			row.String("fail_mode") != "secure" {
			t.Errorf("bridge is %v", row.Fields())
		}
		if n, _ := read("Open_vSwitch", root).Int("next_cfg"); n != (5*3-1)/4%2 {
			t.Errorf("next_cfg %d", n)
		}
		for _, c := range []struct {
			where []ovsdb.Condition
			want  int
		}{
			{[]ovsdb.Condition{{"name", "!=", ovsdb.String("br0")}}, 10},
			{ovsdb.Includes("external_ids", ovsdb.StringMap(map[string]string{"x": "y"})), 0},
			{[]ovsdb.Condition{{"external_ids", "excludes", ovsdb.StringMap(map[string]string{"x": "y"})}}, 11},
			{[]ovsdb.Condition{{"bond_updelay", "<", ovsdb.Int(1)}, {"bond_updelay", ">=", ovsdb.Int(0)}}, 11},
			{[]ovsdb.Condition{{"bond_updelay", ">", ovsdb.Int(0)}}, 0},
			{[]ovsdb.Condition{{"tag", "==", ovsdb.Set{}}}, 11},
			{ovsdb.Where("name", ovsdb.String("p4")), 1},
		} {
			res, err := run(func(txn *ovsdb.Txn) { txn.Select("Port", c.where, "name") })
			if got := len(must(t, res, err).Rows(0)); got != c.want {
				t.Errorf("%v: %d rows, want %d", c.where, got, c.want)
			}
		}

		// What nothing refers to is collected; deleting what is referred to is refused.
		before := count(t, s, "Interface")
		_, err = run(func(txn *ovsdb.Txn) { txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Remove("ports", p3)) })
		must(t, nil, err)
		if got := count(t, s, "Interface"); got != before-1 || read("Port", p3) != nil {
			t.Errorf("%d interfaces after one port went, %d before", got, before)
		}
		res, err = run(func(txn *ovsdb.Txn) {
			txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String("orphan"), "interfaces": ovsdb.Named("row1")})
			txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String("orphan")})
		})
		if u := must(t, res, err).UUID("row0"); read("Port", u) != nil {
			t.Error("orphan stays")
		}

		// A weak reference goes with its row.
		mir := ovsdb.Ref("")
		res, err = run(func(txn *ovsdb.Txn) {
			mir = txn.Insert("Mirror", ovsdb.Fields{"name": ovsdb.String("m"), "select_src_port": ovsdb.UUIDs(port, res0(t, run)), "output_port": port})
			txn.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Add("mirrors", mir))
		})
		mirror := must(t, res, err).UUID(mir)
		_, err = run(func(txn *ovsdb.Txn) {
			txn.Mutate("Bridge", ovsdb.All(), ovsdb.Remove("ports", port))
		})
		must(t, nil, err)
		if row := read("Mirror", mirror); row.Has("output_port") || len(row.Set("select_src_port")) != 1 {
			t.Errorf("mirror is %v", row.Fields())
		}
	})
}

// res0 finds port p0's UUID.
func res0(t *testing.T, run func(func(*ovsdb.Txn)) (*ovsdb.Result, error)) ovsdb.UUID {
	res, err := run(func(txn *ovsdb.Txn) { txn.Select("Port", ovsdb.Where("name", ovsdb.String("p0")), "_uuid") })
	u, _ := must(t, res, err).Rows(0)[0].UUID("_uuid")
	return u
}

func TestRefusals(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		s := b.session(t)
		root := rootOf(t, s)
		bridge, port, _ := addBridge(t, s, root, "br0")
		gone := ovsdb.UUID{9}
		name := func(n string) ovsdb.Fields { return ovsdb.Fields{"name": ovsdb.String(n)} }
		for what, c := range map[string]struct {
			build func(txn *ovsdb.Txn)
			code  ovsdb.Code // "" = any
			index int
		}{
			"name taken": {func(txn *ovsdb.Txn) {
				br := txn.Insert("Bridge", name("br0"))
				txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Add("bridges", br))
			}, ovsdb.ConstraintViolation, 2},
			"value not in enum": {func(txn *ovsdb.Txn) {
				txn.Update("Bridge", ovsdb.All(), ovsdb.Fields{"fail_mode": ovsdb.String("open")})
			}, ovsdb.ConstraintViolation, 0},
			"number out of range": {func(txn *ovsdb.Txn) {
				txn.Comment("x")
				txn.Update("Port", ovsdb.All(), ovsdb.Fields{"tag": ovsdb.Int(4096)})
			}, ovsdb.ConstraintViolation, 1},
			"immutable column": {func(txn *ovsdb.Txn) { txn.Update("Bridge", ovsdb.All(), name("br1")) }, ovsdb.ConstraintViolation, 0},
			"too many":         {func(txn *ovsdb.Txn) { txn.Insert("Open_vSwitch", nil) }, ovsdb.ConstraintViolation, 1},
			"too few": {func(txn *ovsdb.Txn) {
				txn.Update("Port", ovsdb.All(), ovsdb.Fields{"interfaces": ovsdb.Set{}})
			}, "", 0},
			"dangling reference": {func(txn *ovsdb.Txn) {
				txn.Mutate("Bridge", ovsdb.All(), ovsdb.Add("ports", gone))
			}, ovsdb.ReferentialIntegrity, 1},
			"row in use": {func(txn *ovsdb.Txn) { txn.Delete("Port", ovsdb.ByUUID(port)) }, ovsdb.ReferentialIntegrity, 1},
			"prerequisite": {func(txn *ovsdb.Txn) {
				txn.Require("Bridge", bridge, ovsdb.Fields{"fail_mode": ovsdb.String("secure")})
				txn.Update("Bridge", ovsdb.ByUUID(bridge), ovsdb.Fields{"fail_mode": ovsdb.String("standalone")})
			}, ovsdb.TimedOut, 0},
			"lock not owned": {func(txn *ovsdb.Txn) { txn.Assert("nagare") }, ovsdb.NotOwner, 0},
			"aborted":        {func(txn *ovsdb.Txn) { txn.Comment("x"); txn.Abort() }, ovsdb.Aborted, 1},
			"division by 0": {func(txn *ovsdb.Txn) {
				txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Mutation{Column: "next_cfg", Mutator: "/=", Value: ovsdb.Int(0)})
			}, ovsdb.DomainError, 0},
			"overflow": {func(txn *ovsdb.Txn) {
				txn.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"next_cfg": ovsdb.Int(1 << 62)})
				txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Mutation{Column: "next_cfg", Mutator: "*=", Value: ovsdb.Int(4)})
			}, ovsdb.RangeError, 1},
			"unknown table":          {func(txn *ovsdb.Txn) { txn.Delete("Nope", nil) }, "", 0},
			"unknown column":         {func(txn *ovsdb.Txn) { txn.Update("Bridge", nil, ovsdb.Fields{"nope": ovsdb.Int(1)}) }, "", 0},
			"unknown column, no row": {func(txn *ovsdb.Txn) { txn.Update("Mirror", nil, ovsdb.Fields{"nope": ovsdb.Int(1)}) }, "", 0},
			"wrong type":             {func(txn *ovsdb.Txn) { txn.Update("Bridge", nil, ovsdb.Fields{"stp_enable": ovsdb.Int(1)}) }, "", 0},
			"same name for two rows": {func(txn *ovsdb.Txn) {
				txn.Append(ovsdb.Op{Op: "insert", Table: "QoS", UUIDName: "q"}, ovsdb.Op{Op: "insert", Table: "QoS", UUIDName: "q"})
			}, ovsdb.DuplicateUUIDName, 1},
		} {
			txn := ovsdb.NewTxn(db)
			c.build(txn)
			_, err := s.Commit(deadline(t), txn)
			var oe *ovsdb.OpError
			if !errors.As(err, &oe) || c.code != "" && !errors.Is(err, c.code) {
				t.Errorf("%s: %v, want %s", what, err, c.code)
			} else if oe.Index != c.index {
				t.Errorf("%s: operation %d blamed, want %d: %v", what, oe.Index, c.index, err)
			}
		}
		if got := count(t, s, "Bridge"); got != 1 {
			t.Errorf("%d bridges after refusals", got)
		}
	})
}

func TestWaitAndCancel(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		s, other := b.session(t), b.session(t)
		root := rootOf(t, s)
		wait := func(ctx context.Context, n int64, timeout time.Duration) error {
			txn := ovsdb.NewTxn(db)
			txn.Wait("Open_vSwitch", ovsdb.ByUUID(root), []string{"next_cfg"}, "==", []ovsdb.Fields{{"next_cfg": ovsdb.Int(n)}}, timeout)
			txn.Update("Open_vSwitch", ovsdb.ByUUID(root), ovsdb.Fields{"cur_cfg": ovsdb.Int(n)})
			_, err := s.Commit(ctx, txn)
			return err
		}
		if err := wait(deadline(t), 42, 10*time.Millisecond); !errors.Is(err, ovsdb.TimedOut) {
			t.Errorf("wait in vain: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- wait(deadline(t), 43, -1) }()
		if err := s.Echo(deadline(t)); err != nil { // the waiting transaction holds nothing up
			t.Fatal(err)
		}
		set := ovsdb.NewTxn(db)
		set.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"next_cfg": ovsdb.Int(43)})
		if _, err := other.Commit(deadline(t), set); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("wait that is met: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() { done <- wait(ctx, 44, -1) }()
		if err := s.Echo(deadline(t)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled wait: %v", err)
		}
		if err := s.Echo(deadline(t)); err != nil { // the late answer, if any, does no harm
			t.Fatal(err)
		}
		set = ovsdb.NewTxn(db)
		set.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"next_cfg": ovsdb.Int(44)})
		if _, err := other.Commit(deadline(t), set); err != nil {
			t.Fatal(err)
		}
		txn := ovsdb.NewTxn(db)
		txn.Select("Open_vSwitch", ovsdb.All(), "cur_cfg")
		res, err := s.Commit(deadline(t), txn)
		if n, _ := must(t, res, err).Rows(0)[0].Int("cur_cfg"); n != 43 {
			t.Errorf("cancelled transaction ran: cur_cfg %d", n)
		}
	})
}

func TestLocks(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		s, o := b.session(t), b.session(t)
		ctx := deadline(t)
		if owned, err := s.Lock(ctx, "l"); err != nil || !owned {
			t.Fatalf("first lock %v, %v", owned, err)
		}
		if owned, err := o.Lock(ctx, "l"); err != nil || owned {
			t.Fatalf("second lock %v, %v", owned, err)
		}
		txn := ovsdb.NewTxn(db)
		txn.Assert("l")
		if _, err := s.Commit(ctx, txn); err != nil {
			t.Errorf("owner: %v", err)
		}
		if _, err := o.Commit(ctx, txn); !errors.Is(err, ovsdb.NotOwner) {
			t.Errorf("waiter: %v", err)
		}
		if err := s.Unlock(ctx, "l"); err != nil {
			t.Fatal(err)
		}
		if err := o.AwaitLock(ctx, "l", true); err != nil {
			t.Fatal(err)
		}
		if err := s.Steal(ctx, "l"); err != nil || !s.Owns("l") {
			t.Fatalf("steal: %v", err)
		}
		if err := o.AwaitLock(ctx, "l", false); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := o.Unlock(ctx, "l"); err != nil {
			t.Error(err)
		}
	})
}

// contents reads tables through select, as a reference for mirrors.
func contents(t *testing.T, s *ovsdb.Session, schema *ovsdb.Schema, tables ovsdb.Tables) map[string]map[ovsdb.UUID]*ovsdb.Row {
	t.Helper()
	out := make(map[string]map[ovsdb.UUID]*ovsdb.Row)
	for table := range tables {
		txn := ovsdb.NewTxn(db)
		txn.Select(table, ovsdb.All())
		res, err := s.Commit(deadline(t), txn)
		out[table] = make(map[ovsdb.UUID]*ovsdb.Row)
		for _, row := range must(t, res, err).Rows(0) {
			u, _ := row.UUID("_uuid")
			out[table][u] = row
		}
	}
	return out
}

// TestMirrorFollows runs random transactions by one session and holds the mirror of
// another against the database, for each kind of monitor; the batches, applied to an
// empty picture, have to give the mirror.
func TestMirrorFollows(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend) {
		for version := 1; version <= 3; version++ {
			t.Run(fmt.Sprintf("monitor%d", version), func(t *testing.T) {
				s := session(t, older{b.dial(t), version})
				writer := b.session(t)
				root := rootOf(t, writer)
				clear := ovsdb.NewTxn(db)
				clear.Update("Open_vSwitch", ovsdb.All(), ovsdb.Fields{"bridges": ovsdb.Set{}})
				if _, err := writer.Commit(deadline(t), clear); err != nil {
					t.Fatal(err)
				}
				addBridge(t, writer, root, "first")

				m := ovsdb.NewMirror(db, ovsdb.SwitchTables())
				if err := s.Monitor(deadline(t), m); err != nil {
					t.Fatal(err)
				}
				picture := make(map[string]map[ovsdb.UUID]*ovsdb.Row)
				for table := range ovsdb.SwitchTables() {
					picture[table] = make(map[ovsdb.UUID]*ovsdb.Row)
				}
				initials, committed := 0, 0
				drain := func() {
					for b, ok := m.Take(); ok; b, ok = m.Take() {
						if b.Initial {
							initials++
						}
						for _, c := range b.Changes {
							if !picture[c.Table][c.UUID].Equal(c.Before) {
								t.Fatalf("%s %s: before is %v, had %v", c.Table, c.UUID, c.Before.Fields(), picture[c.Table][c.UUID].Fields())
							}
							if picture[c.Table][c.UUID] = c.After; c.After == nil {
								delete(picture[c.Table], c.UUID)
							}
						}
					}
				}
				r := rand.New(rand.NewPCG(1, uint64(version)))
				schema, _ := s.GetSchema(deadline(t), db)
				for step := range 120 {
					txn := randomTxn(r, root, m, step)
					_, err := writer.Commit(deadline(t), txn)
					var refused *ovsdb.OpError
					if err != nil && !errors.As(err, &refused) {
						t.Fatal(err)
					}
					if err == nil {
						committed++
					}
					if err := s.Echo(deadline(t)); err != nil { // updates precede its answer
						t.Fatal(err)
					}
					if r.IntN(3) == 0 { // else the changes merge
						drain()
					}
					if step%20 != 19 {
						continue
					}
					drain()
					real := contents(t, writer, schema, ovsdb.SwitchTables())
					for table, rows := range real {
						compare(t, table, rows, m.Rows(table), picture[table])
					}
				}
				if initials != 1 || committed < 90 {
					t.Errorf("%d initial batches, %d transactions committed", initials, committed)
				}
			})
		}
	})
}

func compare(t *testing.T, table string, real, mirrored, picture map[ovsdb.UUID]*ovsdb.Row) {
	t.Helper()
	if len(real) != len(mirrored) || len(mirrored) != len(picture) {
		t.Fatalf("%s: %d rows, %d mirrored, %d delivered", table, len(real), len(mirrored), len(picture))
	}
	for u, row := range mirrored {
		for _, column := range row.Columns() {
			if !ovsdb.Equal(row.Value(column), real[u].Value(column)) {
				t.Fatalf("%s %s %s: mirror has %v, database %v", table, u, column, row.Value(column), real[u].Value(column))
			}
		}
		if !row.Equal(picture[u]) {
			t.Fatalf("%s %s: delivered %v, mirror has %v", table, u, picture[u].Fields(), row.Fields())
		}
	}
}

// randomTxn changes sets, maps, optional and scalar columns of random rows.
func randomTxn(r *rand.Rand, root ovsdb.UUID, m *ovsdb.Mirror, step int) *ovsdb.Txn {
	txn := ovsdb.NewTxn(db)
	pick := func(table string) ovsdb.UUID {
		rows := slices.SortedFunc(maps.Keys(m.Rows(table)), func(a, b ovsdb.UUID) int { return bytes.Compare(a[:], b[:]) })
		if len(rows) == 0 {
			return ovsdb.UUID{}
		}
		return rows[r.IntN(len(rows))]
	}
	key := func() string { return string(rune('a' + r.IntN(4))) }
	ints := func() ovsdb.Value {
		var s ovsdb.Set
		for range r.IntN(4) {
			s = append(s, ovsdb.Int(r.IntN(6)))
		}
		return ovsdb.Canon(s)
	}
	for range 1 + r.IntN(3) {
		name := ovsdb.String(fmt.Sprintf("n%d-%d", step, txn.Len()))
		switch r.IntN(9) {
		case 0:
			i := txn.Insert("Interface", ovsdb.Fields{"name": name, "external_ids": ovsdb.StringMap(map[string]string{key(): key()})})
			p := txn.Insert("Port", ovsdb.Fields{"name": name, "interfaces": i})
			txn.Mutate("Bridge", ovsdb.ByUUID(pick("Bridge")), ovsdb.Add("ports", p))
		case 1:
			txn.Mutate("Bridge", ovsdb.ByUUID(pick("Bridge")), ovsdb.Remove("ports", pick("Port")))
		case 2:
			b := txn.Insert("Bridge", ovsdb.Fields{"name": name, "protocols": ovsdb.Strings("OpenFlow13", "OpenFlow14")})
			txn.Mutate("Open_vSwitch", ovsdb.ByUUID(root), ovsdb.Add("bridges", b))
		case 3:
			txn.Mutate("Open_vSwitch", ovsdb.ByUUID(root), ovsdb.Remove("bridges", pick("Bridge")))
		case 4:
			txn.Mutate("Interface", ovsdb.ByUUID(pick("Interface")), ovsdb.Put("external_ids", key(), key())...)
		case 5:
			txn.Update("Bridge", ovsdb.All(), ovsdb.Fields{"flood_vlans": ints(), "stp_enable": ovsdb.Bool(r.IntN(2) == 0)})
		case 6:
			var tag ovsdb.Value = ovsdb.Set{}
			if r.IntN(2) == 0 {
				tag = ovsdb.Int(r.IntN(5))
			}
			txn.Update("Port", ovsdb.ByUUID(pick("Port")), ovsdb.Fields{"tag": tag, "trunks": ints()})
		case 7:
			txn.Mutate("Interface", ovsdb.All(), ovsdb.Remove("external_ids", ovsdb.String(key())))
		case 8:
			q := txn.Insert("Queue", ovsdb.Fields{"dscp": ovsdb.Int(r.IntN(64))})
			txn.Insert("QoS", ovsdb.Fields{"type": ovsdb.String("x"), "queues": ovsdb.Map{{Key: ovsdb.Int(r.IntN(3)), Value: q}}})
		}
	}
	return txn
}
