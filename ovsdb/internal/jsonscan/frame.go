// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"errors"
	"io"
	"sync/atomic"
)

// Limits bound what one peer can make a Framer hold.
type Limits struct {
	Message int // bytes of one message
	Text    int // bytes of one string
	Depth   int // nesting levels
}

// ErrTooLong is a message or string beyond the limits.
var ErrTooLong = errors.New("json message over the limit")

const (
	firstBuffer = 4 << 10
	keepBuffer  = 8 << 10 // a larger buffer is given back once it is empty
)

// Framer cuts a byte stream into messages. It must be used by one goroutine;
// SetLimit may be called by any.
type Framer struct {
	r      io.Reader
	limits Limits
	limit  atomic.Int64

	buf        []byte
	start, end int // unread text is buf[start:end]
}

// NewFramer reads from r. The message limit starts at limits.Message.
func NewFramer(r io.Reader, limits Limits) *Framer {
	f := &Framer{r: r, limits: limits}
	f.limit.Store(int64(limits.Message))
	return f
}

// SetLimit changes the limit of one message in bytes from the next read on.
func (f *Framer) SetLimit(n int) { f.limit.Store(int64(n)) }

// Next returns the next message, an object: its text, balanced but not otherwise
// checked. The text is valid until the next call. io.EOF means the stream ended
// between messages, io.ErrUnexpectedEOF inside one.
func (f *Framer) Next() ([]byte, error) {
	if f.start == f.end {
		f.start, f.end = 0, 0
		if cap(f.buf) > keepBuffer {
			f.buf = nil
		}
	}
	var (
		pos      = f.start
		depth    int
		inString bool
		strFrom  int
		begun    bool
	)
	fail := func(reason string) ([]byte, error) {
		return nil, &Error{Offset: pos - f.start, Reason: reason}
	}
	for {
		for ; pos < f.end; pos++ {
			c := f.buf[pos]
			if inString {
				switch c {
				case '\\':
					pos++ // the escaped character, perhaps not read yet
				case '"':
					inString = false
				}
				if pos-strFrom > f.limits.Text {
					return nil, ErrTooLong
				}
				continue
			}
			switch c {
			case '{', '[':
				if !begun && c == '[' {
					return fail("message is not an object")
				}
				begun = true
				if depth++; depth > f.limits.Depth {
					return fail("nesting too deep")
				}
			case '}', ']':
				if depth--; depth < 0 {
					return fail("stray closing bracket")
				}
				if depth == 0 {
					msg := f.buf[f.start : pos+1]
					f.start = pos + 1
					return msg, nil
				}
			case '"':
				inString, strFrom = true, pos
				fallthrough
			default:
				if begun {
					continue
				}
				if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
					return fail("message is not an object")
				}
				f.start = pos + 1
			}
		}
		if int64(f.end-f.start) > f.limit.Load() {
			return nil, ErrTooLong
		}
		shift, err := f.fill()
		pos -= shift
		strFrom -= shift
		if err != nil {
			if err == io.EOF && f.end > f.start {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// fill reads more text and returns by how much the unread text moved to the front.
func (f *Framer) fill() (shift int, err error) {
	if f.end == len(f.buf) {
		if f.start > 0 && f.end-f.start <= len(f.buf)/2 {
			shift = f.start
			copy(f.buf, f.buf[f.start:f.end])
		} else {
			shift = f.start
			grown := make([]byte, max(firstBuffer, 2*(f.end-f.start)))
			copy(grown, f.buf[f.start:f.end])
			f.buf = grown
		}
		f.start, f.end = 0, f.end-shift
	}
	for range 100 { // a Reader may return 0, nil; give up on one that does nothing else
		n, err := f.r.Read(f.buf[f.end:])
		f.end += n
		if n > 0 || err != nil {
			if n > 0 {
				err = nil
			}
			return shift, err
		}
	}
	return shift, io.ErrNoProgress
}
