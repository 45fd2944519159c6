// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"nagare/ovsdb"
)

// fed is a connection whose peer says a fixed text, then closes, and swallows all.
type fed struct {
	net.Conn
	in *bytes.Reader
}

func (f fed) Read(p []byte) (int, error)       { return f.in.Read(p) }
func (fed) Write(p []byte) (int, error)        { return len(p), nil }
func (fed) Close() error                       { return nil }
func (fed) SetWriteDeadline(t time.Time) error { return nil }

// FuzzStream feeds a session whose first two requests are get_schema and a monitor.
// Whatever comes, it ends by itself, leaving no goroutine.
func FuzzStream(f *testing.F) {
	schema := `{"id":1,"error":null,"result":{"name":"db","tables":{"T":{"columns":{"s":{"type":"string"},"m":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}}}`
	dump := `{"id":2,"error":null,"result":[false,"x",{"T":{"43cbe79e-8e51-4a5a-8638-03df224ad777":{"initial":{"s":"a"}}}}]}`
	f.Add([]byte(schema + dump + `{"id":null,"method":"update3","params":["nagare-1","y",{"T":{"43cbe79e-8e51-4a5a-8638-03df224ad777":{"modify":{"m":["map",[["a","b"]]]}}}}]}`))
	f.Add([]byte(`{"id":"e","method":"echo","params":["x"]}` + schema))
	f.Add([]byte(`{"id":1,"error":"unknown method","result":null}{"id":null,"method":"locked","params":["l"]}`))
	f.Add([]byte("{\"id\":1,\"result\":\"\\ud800\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := ovsdb.NewSession(fed{in: bytes.NewReader(text)}, ovsdb.Options{ProbeInterval: -1})
		m := ovsdb.NewMirror("db", ovsdb.Tables{"T": nil})
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_ = s.Monitor(ctx, m) // any outcome will do
		select {
		case <-s.Done():
		case <-ctx.Done():
			t.Fatal("session does not end")
		}
		if s.Err() == nil {
			t.Fatal("session ended for no reason")
		}
		s.Close()
		m.Take()
	})
}
