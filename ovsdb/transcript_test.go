// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/ovsdb"
)

// Transcripts are conversations, a line each:
//
//	do VERB ARG...   start a call of ours: list_dbs, schema, monitor, since (monitor
//	                 again by a new session), lock NAME, unlock NAME, steal NAME,
//	                 insert
//	C JSON           the client has to send this next (compared as JSON)
//	S TEXT           the server sends this; \xNN and xN,TEXT repetition are expanded
//	ok TEXT          the call has to succeed and give TEXT
//	err TEXT         the call has to fail with an error containing TEXT
//	batch TEXT       the mirror has to deliver this
//	none             the mirror has to deliver nothing
//	end TEXT         the session has to end with an error containing TEXT
//	alive            the session has to answer echo
//
// # starts a comment.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t, file: filepath.Base(file), mirror: ovsdb.NewMirror("db", ovsdb.Tables{"T": nil, "U": {"n", "absent"}, "Absent": nil})}
			p.connect()
			for i, line := range strings.Split(string(text), "\n") {
				p.line = i + 1
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					p.play(line)
				}
			}
			p.s.Close()
		})
	}
}

type player struct {
	t      *testing.T
	file   string
	line   int
	s      *ovsdb.Session
	peer   net.Conn
	in     *json.Decoder
	mirror *ovsdb.Mirror
	result chan string
}

func (p *player) connect() {
	ours, theirs := net.Pipe()
	p.peer = theirs
	if err := theirs.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	p.in = json.NewDecoder(bufio.NewReader(theirs))
	p.s = ovsdb.NewSession(ours, ovsdb.Options{MaxString: 100_000})
	s := p.s
	p.t.Cleanup(func() { s.Close(); theirs.Close() })
}

func (p *player) fatal(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *player) play(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "do":
		p.do(strings.Fields(arg))
	case "C":
		var got, want any
		if err := json.Unmarshal([]byte(arg), &want); err != nil {
			p.fatal("%v", err)
		}
		if err := p.in.Decode(&got); err != nil {
			p.fatal("client sent nothing: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			text, _ := json.Marshal(got)
			p.fatal("client sent\n%s\nwant\n%s", text, arg)
		}
	case "S":
		if _, err := p.peer.Write([]byte(expand(arg))); err != nil && !errors.Is(err, net.ErrClosed) && p.s.Err() == nil {
			p.fatal("%v", err)
		}
	case "ok", "err":
		select {
		case got := <-p.result:
			kind, text, _ := strings.Cut(got, " ")
			if kind != verb || verb == "ok" && text != arg || !strings.Contains(text, arg) {
				p.fatal("call gave %s", got)
			}
		case <-time.After(2 * time.Minute):
			p.fatal("call does not return")
		}
	case "batch":
		b, err := p.mirror.Next(deadline(p.t))
		if err != nil {
			p.fatal("no batch: %v", err)
		}
		if got := render(b); got != arg {
			p.fatal("batch is\n%s\nwant\n%s", got, arg)
		}
	case "none":
		if b, ok := p.mirror.Take(); ok {
			p.fatal("batch %s", render(b))
		}
	case "end":
		select {
		case <-p.s.Done():
			if err := p.s.Err(); !strings.Contains(err.Error(), arg) {
				p.fatal("session ended: %v", err)
			}
		case <-time.After(2 * time.Minute):
			p.fatal("session lives on")
		}
	case "alive":
		p.play(`S {"method":"echo","params":["alive"],"id":"a"}`)
		p.play(`C {"id":"a","result":["alive"],"error":null}`)
	default:
		p.fatal("verb %q unknown", verb)
	}
}

// expand does \xNN and {{N,TEXT}}.
func expand(s string) string {
	for {
		from := strings.Index(s, "{{")
		to := strings.Index(s, "}}}")
		if to < 0 {
			to = strings.Index(s, "}}")
		}
		if from < 0 || to < from {
			break
		}
		var n int
		count, text, _ := strings.Cut(s[from+2:to], ",")
		fmt.Sscan(count, &n)
		s = s[:from] + strings.Repeat(text, n) + s[to+2:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		var c byte
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			fmt.Sscanf(s[i+2:i+4], "%02x", &c)
			b.WriteByte(c)
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (p *player) do(words []string) {
	ctx := deadline(p.t)
	result := make(chan string, 1)
	p.result = result
	if words[0] == "since" {
		p.connect()
	}
	s, m := p.s, p.mirror
	go func() {
		var out string
		var err error
		switch words[0] {
		case "list_dbs":
			var names []string
			names, err = s.ListDbs(ctx)
			out = strings.Join(names, " ")
		case "schema":
			var schema *ovsdb.Schema
			if schema, err = s.GetSchema(ctx, "db"); err == nil {
				out = schema.Name + " " + schema.Version
			}
		case "monitor", "since":
			err = s.Monitor(ctx, m)
		case "unmonitor":
			err = s.Unmonitor(ctx, m)
		case "lock":
			var owned bool
			owned, err = s.Lock(ctx, words[1])
			out = fmt.Sprint(owned)
		case "steal":
			err = s.Steal(ctx, words[1])
		case "unlock":
			err = s.Unlock(ctx, words[1])
		case "await":
			err = s.AwaitLock(ctx, words[1], words[2] == "owned")
		case "insert":
			txn := ovsdb.NewTxn("db")
			ref := txn.Insert("T", ovsdb.Fields{"s": ovsdb.String("x")})
			var res *ovsdb.Result
			if res, err = s.Commit(ctx, txn); err == nil {
				out = res.UUID(ref).String()
			}
		default:
			err = fmt.Errorf("action %q unknown", words[0])
		}
		if err != nil {
			result <- "err " + err.Error()
			return
		}
		result <- strings.TrimSpace("ok " + out)
	}()
}

// render writes a batch as [initial] then TABLE/xx+{new} TABLE/xx-  TABLE/xx{col:old>new}.
func render(b ovsdb.Batch) string {
	var items []string
	for _, c := range b.Changes {
		at := c.Table + "/" + c.UUID.String()[34:]
		switch {
		case c.Before == nil:
			at += "+"
			for _, name := range c.After.Columns() {
				if c.After.Has(name) {
					at += fmt.Sprintf(" %s=%s", name, valueText(c.After.Value(name)))
				}
			}
		case c.After == nil:
			at += "-"
		default:
			for _, name := range c.Before.Changed(c.After) {
				at += fmt.Sprintf(" %s:%s>%s", name, valueText(c.Before.Value(name)), valueText(c.After.Value(name)))
			}
		}
		items = append(items, at)
	}
	slices.Sort(items)
	if b.Initial {
		items = slices.Insert(items, 0, "initial")
	}
	return strings.Join(items, "; ")
}

func valueText(v ovsdb.Value) string {
	b, _ := ovsdb.AppendValue(nil, v)
	return strings.ReplaceAll(string(b), `"`, "'")
}
