// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	serverVariable = "NAGARE_SERVER"
	serverDefault  = "http://127.0.0.1:8181"

	// answerWithin bounds one request; a long poll adds its own patience.
	answerWithin = 30 * time.Second
	// answerMost bounds what is read of an answer: a million flows are about 200 MB.
	answerMost = 512 << 20

	adminHint = "eval \"$(nagare lab openrc admin)\""
)

// remote is a running server as the client commands reach it: its admin API, with a token of the OS_* variables when it asks for
// one. It serves one command and is not safe for concurrent use.
type remote struct {
	server string // as given by --server
	cacert string // as given by --cacert
	getenv func(string) string
	http   *http.Client
	token  string
}

// addServerFlag gives c the --server flag and returns what the command calls.
func addServerFlag(c *cobra.Command) *remote {
	preset := os.Getenv(serverVariable)
	if preset == "" {
		preset = serverDefault
	}
	r := &remote{getenv: os.Getenv, http: &http.Client{
		// Connections are not kept: a command makes a handful of requests.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// A redirect would carry the token or the password to a place that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.Flags().StringVar(&r.server, "server", preset, "admin API of the server ("+serverVariable+")")
	addAuthorityFlag(c, &r.cacert)
	return r
}

const authorityVariable = "OS_CACERT"

// addAuthorityFlag gives c the flag --cacert.
func addAuthorityFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "cacert", os.Getenv(authorityVariable), "file of the authority that signed the server's certificate, if it is no public one ("+authorityVariable+")")
}

// trust makes the client believe the authority of a file, and no other.
func trust(t *http.Transport, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return usagef("cacert: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return usagef("cacert %s: no certificate in it; want PEM", file)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return nil
}

// untrusted adds to an error of a certificate what to do about it.
func untrusted(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w: name the authority's certificate by --cacert or %s", err, authorityVariable)
	}
	return err
}

// base is the URL of the admin API's root, without a slash at its end. After it the client believes the authority of --cacert.
func (r *remote) base() (string, error) {
	s := r.server
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("server %q: not an http URL; name the admin API, like %s", r.server, serverDefault)
	}
	if r.cacert != "" {
		if err := trust(r.http.Transport.(*http.Transport), r.cacert); err != nil {
			return "", err
		}
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// get asks for path below /nagare/v1, decodes the answer into out and returns it as it came, too.
func (r *remote) get(ctx context.Context, path string, query url.Values, out any) (json.RawMessage, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	body, err := r.do(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("server %s: answer to GET %s: %w; is that the admin API of a nagare of this version?", r.server, path, err)
	}
	return body, nil
}

// do makes one request of the admin API and wants success.
func (r *remote) do(ctx context.Context, method, path string) ([]byte, error) {
	status, body, err := r.ask(ctx, method, "/nagare/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	if status < 200 || status > 299 {
		return nil, r.refusal(status, body)
	}
	return body, nil
}

// ask makes one request with a body of JSON, or none. The server is asked without a token first, so that one without authentication
// needs no OS_* variables and no password travels in vain.
func (r *remote) ask(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	base, err := r.base()
	if err != nil {
		return 0, nil, err
	}
	status, answer, err = r.send(ctx, method, base+path, body)
	if err == nil && status == http.StatusUnauthorized && r.token == "" && r.getenv("OS_AUTH_URL") != "" {
		if r.token, err = r.authenticate(ctx); err != nil {
			return 0, nil, err
		}
		status, answer, err = r.send(ctx, method, base+path, body)
	}
	if err != nil {
		if ctx.Err() != nil {
			return 0, nil, fmt.Errorf("server %s: %s %s: %w", r.server, method, strings.TrimPrefix(path, "/nagare/v1"), ctx.Err())
		}
		return 0, nil, fmt.Errorf("server %s: %w; is `nagare serve` running there? Another place is named by --server or %s", r.server, err, serverVariable)
	}
	return status, answer, nil
}

// send makes one request with the token, if there is one.
func (r *remote) send(ctx context.Context, method, target string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("X-Auth-Token", r.token)
	}
	status, _, answer, err := exchange(r.http, req)
	return status, answer, err
}

// exchange sends req and reads the whole answer. Errors come without the URL, which the caller names in its own words.
func exchange(c *http.Client, req *http.Request) (status int, header http.Header, body []byte, err error) {
	if _, bounded := req.Context().Deadline(); !bounded {
		ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
		defer cancel()
		req = req.WithContext(ctx)
	}
	resp, err := c.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		return 0, nil, nil, untrusted(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("answer cut short: %w", err)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// refusedError is an answer that was not a success.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

// refused tells whether err is the server's answer with one of the statuses.
func refused(err error, statuses ...int) bool {
	var e *refusedError
	if !errors.As(err, &e) {
		return false
	}
	for _, s := range statuses {
		if e.status == s {
			return true
		}
	}
	return false
}

// refusal puts an answer that was not a success into words: what the server said, and what to do next.
func (r *remote) refusal(status int, body []byte) error {
	message := errorMessage(body)
	text := fmt.Sprintf("server %s: %s", r.server, message)
	switch {
	case message == "":
		text = fmt.Sprintf("server %s: answered %d %s, which is no answer of the admin API; --server must name its port, 8181 unless `nagare serve` was told otherwise",
			r.server, status, http.StatusText(status))
	case status == http.StatusUnauthorized && r.token == "":
		text = fmt.Sprintf("server %s: unauthorized; say who you are: %s, or set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and OS_USER_DOMAIN_NAME",
			r.server, adminHint)
	case status == http.StatusUnauthorized:
		text = fmt.Sprintf("server %s: %s; it refuses the token of %s, so OS_AUTH_URL names the Identity of another server: %s",
			r.server, message, r.getenv("OS_AUTH_URL"), adminHint)
	case status == http.StatusForbidden:
		text = fmt.Sprintf("server %s: %s; use an administrator: %s", r.server, message, adminHint)
	case status == http.StatusNotFound, status == http.StatusBadRequest:
		text = message // names the object; the server is not at fault
	case status >= 500 && status != http.StatusGatewayTimeout:
		text += "; see the server's log"
	}
	return &refusedError{status, text}
}

// errorMessage is the message of {"error":{"message"}}, or "" if body is nothing of the kind.
func errorMessage(body []byte) string {
	var e struct{ Error struct{ Message string } }
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return printable(strings.TrimSuffix(e.Error.Message, "."))
}
