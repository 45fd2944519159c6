// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"nagare/internal/model"
)

// identity is what a connection proves of its peer.
type identity struct {
	source string   // its address
	tls    bool     // it showed a certificate that our authority signed
	names  []string // the names in it
}

// identify finishes the TLS handshake, if the connection is one. The listener's configuration has verified the certificate.
func identify(ctx context.Context, nc net.Conn, limit time.Duration) (identity, error) {
	id := identity{source: host(nc.RemoteAddr())}
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return id, fmt.Errorf("peer %s: tls: %w", id.source, err)
	}
	certs := tc.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return id, fmt.Errorf("peer %s: tls: no certificate was shown", id.source)
	}
	id.tls = true
	id.names = append(slices.Clone(certs[0].DNSNames), certs[0].Subject.CommonName)
	return id, nil
}

// may reports whether the peer may speak for the node: with TLS by the name in its certificate, else as it was pinned.
func (id identity) may(node model.NodeID) error {
	if id.tls && !slices.Contains(id.names, string(node)) {
		return fmt.Errorf("node %s: refused a peer from %s whose certificate names %q; a node's certificate must name the node", node, id.source, id.names)
	}
	return nil
}
