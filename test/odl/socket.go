// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Socket is a web socket on which a controller tells of changes (RFC 6455, the reading side). Close ends it.
type Socket struct {
	c net.Conn
	r *bufio.Reader
}

// Status is a port's status as an event tells it.
type Status struct{ Port, Status string }

// dialSocket shakes hands as the client's library does: no credentials, no subprotocol.
func dialSocket(ctx context.Context, at *url.URL) (*Socket, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return nil, err
	}
	const key = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 section 1.3; nothing here is secret
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"+
		"Sec-WebSocket-Version: 13\r\nOrigin: http://%s\r\n\r\n", at.RequestURI(), at.Host, key, at.Host)
	s := &Socket{c: c, r: bufio.NewReader(c)}
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(s.r, nil); err == nil {
			sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			if want := base64.StdEncoding.EncodeToString(sum[:]); resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != want {
				err = fmt.Errorf("web socket %s: %s", at.Host, resp.Status)
			}
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the connection; a Next that waits returns.
func (s *Socket) Close() error { return s.c.Close() }

// Next waits for the next frame of text, for so long, and gives the statuses of ports in it, in order.
func (s *Socket) Next(patience time.Duration) ([]Status, error) {
	if err := s.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	for {
		op, payload, err := s.frame()
		switch {
		case err != nil:
			return nil, err
		case op == 8:
			return nil, io.EOF
		case op == 1:
			return statuses(payload)
		}
	}
}

func (s *Socket) frame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(s.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(s.r, b[:])
		size = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(s.r, b[:])
		size = binary.BigEndian.Uint64(b[:])
	}
	switch {
	case err != nil:
		return 0, nil, err
	case head[0]&0x80 == 0 || head[1]&0x80 != 0 || size > 1<<20:
		return 0, nil, fmt.Errorf("web socket: a frame that a server does not send: %x", head)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(s.r, payload)
	return head[0] & 0xf, payload, err
}

// statuses reads a notification as the client does: one event or a list; of each the port in the path, and the content.
func statuses(text []byte) ([]Status, error) {
	type event struct {
		Path      string
		Operation string
		Data      struct{ Status struct{ Content string } }
	}
	var body struct {
		Notification struct {
			Changed struct {
				Event json.RawMessage `json:"data-change-event"`
			} `json:"data-changed-notification"`
		}
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, fmt.Errorf("notification: %w: %s", err, text)
	}
	var list []event
	if err := json.Unmarshal(body.Notification.Changed.Event, &list); err != nil {
		list = make([]event, 1)
		if err := json.Unmarshal(body.Notification.Changed.Event, &list[0]); err != nil {
			return nil, fmt.Errorf("event: %w: %s", err, text)
		}
	}
	var out []Status
	for _, e := range list {
		_, id, ok := strings.Cut(e.Path, "neutron:port[neutron:uuid='")
		id, leaf, found := strings.Cut(id, "']/")
		if ok && found && strings.HasSuffix(leaf, "status") && e.Operation != "deleted" {
			out = append(out, Status{id, e.Data.Status.Content})
		}
	}
	return out, nil
}
