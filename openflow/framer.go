// SPDX-License-Identifier: Apache-2.0

package openflow

import "io"

const (
	minReadBuf = 4 << 10
	maxReadBuf = 64 << 10
)

// Framer cuts a byte stream into messages. It is a pure state machine: read
// into Space, tell Wrote, take messages from Next until there is none. It holds
// at most 64 KiB, which is the longest message there is.
type Framer struct {
	buf  []byte
	r, w int
}

// Space is where the next bytes go; never empty as long as Next was called
// until it had no more. Messages returned by Next are invalid afterwards.
func (f *Framer) Space() []byte {
	full := f.w == len(f.buf) // the last read filled the buffer: more is waiting
	if f.r > 0 {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	want := len(f.buf)
	switch {
	case want == 0:
		want = minReadBuf
	case full:
		want = min(2*want, maxReadBuf)
	case f.w == 0 && want > minReadBuf:
		want /= 2
	}
	if f.w >= 4 {
		want = max(want, int(be.Uint16(f.buf[2:])))
	}
	if want != len(f.buf) {
		b := make([]byte, want)
		copy(b, f.buf[:f.w])
		f.buf = b
	}
	return f.buf[f.w:]
}

// Wrote tells that n bytes of Space were filled.
func (f *Framer) Wrote(n int) { f.w += n }

// Next returns the next whole message, nil if more bytes are needed. A length
// field below 8 is a FormatError; the stream is lost then.
func (f *Framer) Next() ([]byte, error) {
	have := f.buf[f.r:f.w]
	if len(have) < headerLen {
		return nil, nil
	}
	h, err := ParseHeader(have)
	if err != nil {
		return nil, err
	}
	if len(have) < int(h.Length) {
		return nil, nil
	}
	f.r += int(h.Length)
	return have[:h.Length:h.Length], nil
}

// ReadMessage reads one message of at most limit bytes (0: MaxMessage) into
// memory of its own. Errors are those of r, io.ErrUnexpectedEOF for a cut
// message, or a *FormatError.
func ReadMessage(r io.Reader, limit int) ([]byte, error) {
	var head [headerLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	h, err := ParseHeader(head[:])
	if err != nil {
		return nil, err
	}
	if limit > 0 && int(h.Length) > limit {
		return nil, formatErr("message", 2, ErrTooLarge)
	}
	b := append(make([]byte, 0, h.Length), head[:]...)[:h.Length]
	if _, err := io.ReadFull(r, b[headerLen:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
