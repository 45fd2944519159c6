// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Limits of the embedded server, and what we ask of an external one.
const (
	embeddedOps   = 1 << 14
	embeddedBytes = 8 << 20
	externalBytes = 3 << 19 // etcd's default of 1.5 MiB
	quotaBytes    = 8 << 30
	readyTimeouts = 6 // of Options.Timeout, until it must be ready
)

// openEmbedded starts an etcd server in this process, alone in its cluster. It has no client listener: nobody else can
// reach the data. Its peer listener, which etcd insists on, is a loopback port that nobody knows.
func openEmbedded(ctx context.Context, o *Options) (*etcdLog, error) {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	unlock, err := lockDir(o.DataDir)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(o.DataDir, "etcd")
	cfg.Name = "nagare"
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.MaxTxnOps, cfg.MaxRequestBytes = embeddedOps, embeddedBytes+embeddedBytes/4
	cfg.QuotaBackendBytes = quotaBytes
	if o.quota != 0 {
		cfg.QuotaBackendBytes = o.quota
	}
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 256, 10 // nobody has to catch up; entries cost memory
	cfg.LogLevel = "error"
	// While it starts and stops etcd logs errors that are none; real ones come back as such, or end the process.
	serving := new(atomic.Bool)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&slogCore{o.Logger.With("part", "etcd"), serving}, zap.WithFatalHook(fatalHook{})))
	e, err := startEtcd(cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("etcd in %s: %w", cfg.Dir, err), unlock())
	}
	stop := func() error {
		serving.Store(false)
		e.Close()
		return unlock()
	}
	// A server alone elects itself in moments, unless its log lacks what its database has.
	patience := time.NewTimer(readyTimeouts * o.Timeout)
	defer patience.Stop()
	select {
	case <-e.Server.ReadyNotify():
	case <-patience.C:
		return nil, errors.Join(fmt.Errorf("etcd in %s: not ready after %v: its log may be cut off; restore a backup, or move the directory away to start empty",
			cfg.Dir, readyTimeouts*o.Timeout), stop())
	case err := <-e.Err():
		return nil, errors.Join(fmt.Errorf("etcd in %s: %w", cfg.Dir, err), stop())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("etcd in %s: not ready: %w", cfg.Dir, ctx.Err()), stop())
	}
	serving.Store(true)
	l := newEtcdLog(v3client.New(e.Server), o.Prefix)
	l.stop, l.defrag = stop, e.Server.Backend().Defrag
	l.limits = Limits{embeddedOps, embeddedBytes}
	return l, nil
}

// startEtcd starts a server. Over damaged files etcd and its database panic, read beyond the end of a mapped file, or end the
// process; all that becomes an error. What they leave behind then only the end of the process cleans up. The database does
// some of it in goroutines, where nothing helps; so its pages are walked first, which also brings them into memory.
func startEtcd(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("its files are damaged: %v; restore a backup, or move the directory away to start empty", r)
		}
	}()
	if err := walkDatabase(filepath.Join(cfg.Dir, "member", "snap", "db")); err != nil {
		return nil, err
	}
	return embed.StartEtcd(cfg)
}

// walkDatabase reads every page of etcd's database that is in use. It panics where a page is not what it should be.
func walkDatabase(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("%s: %w; restore a backup, or move the directory away to start empty", path, err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { b.Stats(); return nil })
	})
}

// fatalHook turns the logger's way of ending the process into a panic: during the start it is an error, later on it ends the
// process just so. etcd does that when it cannot sync its log to disk; going on would risk what was confirmed.
type fatalHook struct{}

func (fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	var why []string
	for _, f := range fields {
		if f.Type == zapcore.ErrorType {
			why = append(why, fmt.Sprint(f.Interface))
		}
	}
	panic(strings.Join(append([]string{e.Message}, why...), ": "))
}

// lockDir makes sure that one process uses the directory. The lock ends with the process, however it ends.
func lockDir(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who := make([]byte, 64)
		n, _ := f.Read(who)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{Dir: dir, Owner: strings.TrimSpace(string(who[:n]))}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "process %d\n", os.Getpid())
	}
	return f.Close, nil
}

// LockedError says that another process uses the data directory.
type LockedError struct {
	Dir   string
	Owner string // "process 123"; may be empty
}

func (e *LockedError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process"
	}
	return fmt.Sprintf("data directory %s: in use by %s; stop it or choose another directory", e.Dir, owner)
}

// openExternal connects to an etcd cluster that somebody else runs.
func openExternal(ctx context.Context, o *Options) (*etcdLog, error) {
	serving := new(atomic.Bool)
	serving.Store(true)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, TLS: o.TLS, Context: context.WithoutCancel(ctx), DialTimeout: o.Timeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second, MaxCallSendMsgSize: 2 * embeddedBytes,
		Username: o.Username, Password: o.Password, Logger: zap.New(&slogCore{o.Logger.With("part", "etcd client"), serving}),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", strings.Join(o.Endpoints, ","), err)
	}
	l := newEtcdLog(c, o.Prefix)
	l.limits = Limits{o.MaxOps, max(o.MaxBytes, externalBytes-txnOverhead)}
	if l.limits.Ops == 0 {
		pctx, cancel := context.WithTimeout(ctx, o.Timeout)
		defer cancel()
		if l.limits.Ops, err = l.probeOps(pctx, embeddedOps); err != nil {
			return nil, errors.Join(fmt.Errorf("etcd at %s: %w", strings.Join(o.Endpoints, ","), err), l.Close())
		}
	}
	return l, nil
}

// slogCore passes etcd's log lines to our logger: fatal ones always, errors while it is serving.
type slogCore struct {
	to      *slog.Logger
	serving *atomic.Bool
}

func (c *slogCore) Enabled(l zapcore.Level) bool {
	return l > zapcore.ErrorLevel || l == zapcore.ErrorLevel && c.serving.Load()
}
func (c *slogCore) With(fs []zapcore.Field) zapcore.Core {
	return &slogCore{c.to.With(attrs(fs)...), c.serving}
}
func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	// The server tries to write its version into a store that has no entries yet, and tries again later.
	if c.Enabled(e.Level) && e.Message != "failed to update storage version" {
		return ce.AddCore(e, c)
	}
	return ce
}
func (c *slogCore) Write(e zapcore.Entry, fs []zapcore.Field) error {
	c.to.Error(e.Message, attrs(fs)...)
	return nil
}
func (c *slogCore) Sync() error { return nil }

func attrs(fs []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fs {
		f.AddTo(enc)
	}
	var out []any
	for k, v := range enc.Fields {
		out = append(out, slog.Any(k, v))
	}
	return out
}
