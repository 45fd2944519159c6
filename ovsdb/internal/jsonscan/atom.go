// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Text reads a string value into a new string.
func (s *Scanner) Text() (string, error) {
	b, err := s.Bytes()
	return string(b), err
}

// Bytes reads a string value. The result is valid until the next read.
func (s *Scanner) Bytes() ([]byte, error) {
	if k := s.Kind(); k != String {
		return nil, s.Errorf("%s where string is wanted", k)
	}
	start := s.pos + 1
	ascii := true
	for i := start; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			out := s.b[start:i]
			if !ascii && !utf8.Valid(out) {
				return nil, s.Errorf("string is not UTF-8")
			}
			s.pos = i + 1
			return out, nil
		case c == '\\':
			return s.escaped(start, i)
		case c < 0x20:
			s.pos = i
			return nil, s.Errorf("control character 0x%02x in string", c)
		case c >= 0x80:
			ascii = false
		}
	}
	return nil, s.Errorf("text ends inside a string")
}

// escaped reads on from the first backslash at i.
func (s *Scanner) escaped(start, i int) ([]byte, error) {
	out := append(s.scratch[:0], s.b[start:i]...)
	fail := func(format string, args ...any) ([]byte, error) {
		s.pos = i
		return nil, s.Errorf(format, args...)
	}
	for ; i < len(s.b); i++ {
		c := s.b[i]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return fail("string is not UTF-8")
			}
			s.pos = i + 1
			s.scratch = out
			return out, nil
		case c < 0x20:
			return fail("control character 0x%02x in string", c)
		case c != '\\':
			out = append(out, c)
			continue
		}
		i++
		if i >= len(s.b) {
			break
		}
		switch e := s.b[i]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(s.b[i+1:])
			if !ok {
				return fail("\\u needs four hexadecimal digits")
			}
			i += 4
			if utf16.IsSurrogate(r) {
				lo := rune(-1)
				if rest := s.b[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					lo, _ = hex4(rest[2:])
				}
				if r = utf16.DecodeRune(r, lo); r == utf8.RuneError {
					return fail("lone surrogate in string")
				}
				i += 6
			}
			if r == 0 {
				return fail("NUL in string")
			}
			out = utf8.AppendRune(out, r)
		default:
			return fail("unknown escape \\%c", e)
		}
	}
	return fail("text ends inside a string")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return -1, false
	}
	var r rune
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		default:
			return -1, false
		}
	}
	return r, true
}

// Number reads a number. isInt is set when it has neither fraction nor exponent
// and fits 64 bits; otherwise f holds it. Numbers beyond float64 are errors.
func (s *Scanner) Number() (i int64, f float64, isInt bool, err error) {
	if k := s.Kind(); k != Number {
		return 0, 0, false, s.Errorf("%s where number is wanted", k)
	}
	start, p := s.pos, s.pos
	digits := func() bool {
		from := p
		for p < len(s.b) && s.b[p] >= '0' && s.b[p] <= '9' {
			p++
		}
		return p > from
	}
	is := func(c byte) bool { return p < len(s.b) && s.b[p] == c }
	if is('-') {
		p++
	}
	first := p
	whole := true
	ok := digits() && !(s.b[first] == '0' && p > first+1)
	if ok && is('.') {
		p++
		whole, ok = false, digits()
	}
	if ok && (is('e') || is('E')) {
		p++
		if is('+') || is('-') {
			p++
		}
		whole, ok = false, digits()
	}
	if !ok {
		return 0, 0, false, s.Errorf("malformed number")
	}
	if p-start > 400 {
		return 0, 0, false, s.Errorf("number of %d characters", p-start)
	}
	if whole {
		if i, ok := smallInt(s.b[start:p]); ok {
			s.pos = p
			return i, 0, true, nil
		}
		if i, err := strconv.ParseInt(string(s.b[start:p]), 10, 64); err == nil {
			s.pos = p
			return i, 0, true, nil
		}
	}
	f, err = strconv.ParseFloat(string(s.b[start:p]), 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, 0, false, s.Errorf("number out of range")
	}
	s.pos = p
	return 0, f, false, nil
}

// smallInt converts up to 18 digits without the allocation ParseInt's argument costs.
func smallInt(b []byte) (int64, bool) {
	neg := b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

const hexDigits = "0123456789abcdef"

// AppendString appends text as a JSON string. text must be valid UTF-8 (invalid
// bytes become U+FFFD, so that the output is JSON whatever comes in).
func AppendString(b []byte, text string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c < 0x80 && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= 0x80 {
			r, n := utf8.DecodeRuneInString(text[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, text[from:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x80:
			b = append(b, "\uFFFD"...)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	b = append(b, text[from:]...)
	return append(b, '"')
}
