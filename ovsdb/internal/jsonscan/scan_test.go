// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRefusesWhatIsNotOneValue(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "[", `"`, `"\`, `"\u12`, "tru", "nul", "-", "01", "1.", "1e", ".5", "+1", "NaN", "Infinity",
		"1e999", "[1,]", "[,1]", "[1 2]", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"a":2}`,
		`{"\u0061":1,"a":2}`, "\"\x01\"", "\"\xff\"", "\"\xc0\xaf\"", `"\ud800"`, `"\ud800\u0041"`, `"\udc00"`, `"\u0000"`,
		`"\x"`, "[1] 2", `{"a":1}}`, "\"\\n\xff\"", "]", strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"1" + strings.Repeat("0", 500),
	} {
		s := New([]byte(text), 32)
		err := s.Skip()
		if err == nil {
			err = s.End()
		}
		var se *Error
		if !errors.As(err, &se) {
			t.Errorf("%.40q: got %v, want *Error", text, err)
		}
	}
}

func TestDuplicateAmongMany(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 1000 {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	if err := New([]byte(b.String()+`"last":0}`), 4).Skip(); err != nil {
		t.Errorf("distinct keys: %v", err)
	}
	for _, key := range []string{"k0", "k5", "k999"} {
		if err := New([]byte(b.String()+`"`+key+`":0}`), 4).Skip(); err == nil {
			t.Errorf("second %s not noticed", key)
		}
	}
}

func TestStringsRoundTrip(t *testing.T) {
	for _, text := range []string{"", "a", "\"\\/\b\f\n\r\t\x01\x1f\x7f", "grüße 世界 😀", strings.Repeat("x\n", 3000)} {
		out := AppendString(nil, text)
		var std string
		if err := json.Unmarshal(out, &std); err != nil || std != text {
			t.Errorf("%.20q: encoding/json reads %.20q, %v", text, std, err)
		}
		got, err := New(out, 1).Text()
		if err != nil || got != text {
			t.Errorf("%.20q: read back %.20q, %v", text, got, err)
		}
		escaped := fmt.Sprintf("%+q", text) // Go's escapes \u, \n, \t, \" are JSON's too
		if !strings.Contains(escaped, `\x`) && !strings.Contains(escaped, `\U`) {
			if got, err := New([]byte(escaped), 1).Text(); err != nil || got != text {
				t.Errorf("%.40s: read %.20q, %v", escaped, got, err)
			}
		}
	}
	if got, err := New([]byte(`"\ud83d\ude00\/"`), 1).Text(); err != nil || got != "😀/" {
		t.Errorf("surrogate pair: %q, %v", got, err)
	}
	if got := string(AppendString(nil, "a\xffb")); got != "\"a\uFFFDb\"" {
		t.Errorf("invalid byte: %q", got)
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-0": 0, "7": 7, "-7": -7, "9223372036854775807": math.MaxInt64,
		"-9223372036854775808": math.MinInt64, "999999999999999999": 999999999999999999} {
		if i, _, isInt, err := New([]byte(text), 1).Number(); err != nil || !isInt || i != want {
			t.Errorf("%s: %d %v %v", text, i, isInt, err)
		}
	}
	for text, want := range map[string]float64{"0.5": 0.5, "-1e3": -1000, "1E+2": 100, "9223372036854775808": 1 << 63} {
		if _, f, isInt, err := New([]byte(text), 1).Number(); err != nil || isInt || f != want {
			t.Errorf("%s: %g %v %v", text, f, isInt, err)
		}
	}
}

var small = Limits{Message: 1 << 16, Text: 1 << 12, Depth: 8}

func TestFramerCutsAnywhere(t *testing.T) {
	want := []string{`{"a":[1,{"b":"}\"{"}]}`, `{}`, `{"long":"` + strings.Repeat(`\\x`, 1200) + `"}`, `{"z":1}`}
	stream := " \n" + strings.Join(want, "\r\n\t ") + "  "
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(stream), "bytes": iotest.OneByteReader(strings.NewReader(stream)),
		"half": iotest.HalfReader(strings.NewReader(stream)), "with EOF": iotest.DataErrReader(strings.NewReader(stream)),
	} {
		f := NewFramer(r, small)
		for i, w := range want {
			got, err := f.Next()
			if err != nil || string(got) != w {
				t.Fatalf("%s, message %d: %.40q, %v", name, i, got, err)
			}
		}
		if _, err := f.Next(); err != io.EOF {
			t.Errorf("%s: end gives %v", name, err)
		}
	}
}

func TestFramerLimits(t *testing.T) {
	endless := func(head, unit string) io.Reader {
		return io.MultiReader(strings.NewReader(head), &repeat{unit: unit})
	}
	var syntax *Error
	for name, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"string":  {endless(`{"a":"`, "x"), ErrTooLong},
		"message": {endless(`{"a":[0`, ",1"), ErrTooLong},
	} {
		f := NewFramer(c.r, small)
		if _, err := f.Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if cap(f.buf) > 4*small.Message {
			t.Errorf("%s: buffer grew to %d", name, cap(f.buf))
		}
	}
	for _, text := range []string{`{"a":` + strings.Repeat("[", 100), "x", "[1]", `"a"`, "}", "GET / HTTP/1.1\r\n", "\x16\x03\x01"} {
		if _, err := NewFramer(strings.NewReader(text), small).Next(); !errors.As(err, &syntax) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, err := NewFramer(strings.NewReader(`{"a"`), small).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("cut short: %v", err)
	}
}

type repeat struct {
	unit string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.unit[r.at%len(r.unit)]
		r.at++
	}
	return len(p), nil
}

// FuzzSkip holds the scanner against encoding/json: what Skip accepts, the standard
// library accepts, and Span finds the same end.
func FuzzSkip(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"x\u00e9\n",null,true,false,{}]}`, `["map",[["a","b"]]]`, `"\ud83d\ude00"`, `[[[[]]]]`, `{"a":1,"a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := New(text, 16)
		raw, err := s.Raw()
		if err != nil {
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
		span, err := New(text, 16).Span()
		if err != nil || string(span) != string(raw) {
			t.Fatalf("span %q, %v of %q", span, err, raw)
		}
	})
}

// FuzzFramer: no panic, bounded buffer, and the cut does not depend on the reads.
func FuzzFramer(f *testing.F) {
	f.Add([]byte(`{"id":0,"method":"echo","params":["}\\"]} {"id":1}`))
	f.Add([]byte("\n\n{\"a\":\"\\\"\"}{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a := NewFramer(strings.NewReader(string(text)), small)
		b := NewFramer(iotest.OneByteReader(strings.NewReader(string(text))), small)
		for {
			m, err := a.Next()
			n, oerr := b.Next()
			if string(m) != string(n) || (err == nil) != (oerr == nil) {
				t.Fatalf("%q, %v and %q, %v", m, err, n, oerr)
			}
			if err != nil {
				return
			}
		}
	})
}
