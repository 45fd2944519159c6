// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdLog keeps the log in etcd, below a prefix:
//
//	<prefix><table>/<key>      a record
//	<prefix>log/<revision>     a commit's entry, the revision as 16 hexadecimal digits
//	<prefix>meta/head          revision and offset, written with every batch
//	<prefix>meta/owner         the fence: term, owner's name and a nonce of its process
//
// Every transaction that writes compares owner and head with what this process believes.
type etcdLog struct {
	c      *clientv3.Client
	prefix string
	nonce  string
	limits Limits

	// Of an embedded server, else nil: such a one we compact and defragment ourselves.
	stop   func() error
	defrag func() error // the server's own; the in-process client's Defragment dereferences nil (etcd 3.7.3)

	owner   string // our value of meta/owner; empty before the first Fence
	revised int64  // etcd's own revision at our last transaction
	kept    int64  // etcd's own revision that was compacted last
}

// Tables that would collide with the log's own keys.
const (
	logDir  = "log"
	metaDir = "meta"
)

const loadPage = 4000

// overhead of an operation and of a whole transaction in etcd's request form, over keys and values; generous.
const (
	opOverhead  = 32
	txnOverhead = 4096
)

func (l *etcdLog) key(dir, name string) string { return l.prefix + dir + "/" + name }

func entryName(r Revision) string { return fmt.Sprintf("%016x", uint64(r)) }

func (l *etcdLog) Fence(ctx context.Context) (Head, uint64, error) {
	ownerKey, headKey := l.key(metaDir, "owner"), l.key(metaDir, "head")
	for {
		got, err := l.c.Get(ctx, ownerKey)
		if err != nil {
			return Head{}, 0, fmt.Errorf("log owner: %w", err)
		}
		var term uint64
		var mod int64
		if len(got.Kvs) == 1 {
			cur := string(got.Kvs[0].Value)
			mod = got.Kvs[0].ModRevision
			if l.owner != "" && !strings.HasSuffix(cur, l.nonce) {
				return Head{}, 0, ErrFenced
			}
			first, _, _ := strings.Cut(cur, " ")
			if term, err = strconv.ParseUint(first, 10, 64); err != nil {
				return Head{}, 0, &CorruptError{metaDir, "owner", err}
			}
		} else if l.owner != "" {
			return Head{}, 0, ErrFenced // somebody emptied the log
		}
		term++
		host, _ := os.Hostname()
		owner := fmt.Sprintf("%d %s/%d %s", term, host, os.Getpid(), l.nonce)
		resp, err := l.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(ownerKey), "=", mod)).
			Then(clientv3.OpPut(ownerKey, owner), clientv3.OpGet(headKey)).Commit()
		if err != nil {
			return Head{}, 0, fmt.Errorf("log owner: %w", err)
		}
		if !resp.Succeeded {
			continue // somebody else, or an earlier attempt of ours: look again
		}
		l.owner = owner
		if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) == 1 {
			h, err := parseHead(string(kvs[0].Value))
			if err != nil {
				return Head{}, 0, &CorruptError{metaDir, "head", err}
			}
			return h, term, nil
		}
		resp, err = l.c.Txn(ctx).If(l.owned(), clientv3.Compare(clientv3.CreateRevision(headKey), "=", 0)).
			Then(clientv3.OpPut(headKey, Head{}.String())).Commit()
		if err != nil {
			return Head{}, 0, fmt.Errorf("log head: %w", err)
		}
		if resp.Succeeded {
			return Head{}, term, nil
		}
	}
}

func (l *etcdLog) owned() clientv3.Cmp {
	return clientv3.Compare(clientv3.Value(l.key(metaDir, "owner")), "=", l.owner)
}

func (l *etcdLog) Load(ctx context.Context, table string, f func([]Record) error) error {
	prefix := l.key(table, "")
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var at int64
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(loadPage)}
		if at != 0 {
			opts = append(opts, clientv3.WithRev(at))
		}
		resp, err := l.c.Get(ctx, from, opts...)
		if err != nil {
			return fmt.Errorf("load %s: %w", table, err)
		}
		at = resp.Header.Revision
		recs := make([]Record, len(resp.Kvs))
		for i, kv := range resp.Kvs {
			recs[i] = Record{table, string(kv.Key[len(prefix):]), kv.Value}
		}
		if err := f(recs); err != nil || !resp.More {
			return err
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (l *etcdLog) Append(ctx context.Context, b *Batch) error {
	headKey := l.key(metaDir, "head")
	ops := make([]clientv3.Op, 0, len(b.Records)+len(b.Entries)+1)
	for _, r := range b.Records {
		if key := l.key(r.Table, r.Key); r.Value == nil {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(r.Value)))
		}
	}
	for _, e := range b.Entries {
		ops = append(ops, clientv3.OpPut(l.key(logDir, entryName(e.Revision)), string(e.Data)))
	}
	ops = append(ops, clientv3.OpPut(headKey, b.Head.String()))
	resp, err := l.c.Txn(ctx).If(l.owned(), clientv3.Compare(clientv3.Value(headKey), "=", b.Prev.String())).
		Then(ops...).Else(clientv3.OpGet(l.key(metaDir, "owner"))).Commit()
	if err != nil {
		if errors.Is(err, rpctypes.ErrNoSpace) && l.defrag != nil {
			err = errors.Join(err, l.makeRoom(ctx))
		}
		return fmt.Errorf("append revision %d: %w", b.Head.Revision, err)
	}
	l.revised = resp.Header.Revision
	if resp.Succeeded {
		return nil
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) != 1 || !strings.HasSuffix(string(kvs[0].Value), l.nonce) {
		return ErrFenced
	}
	return errConflict
}

func (l *etcdLog) Entries(ctx context.Context, from Revision, limit int) ([]Entry, error) {
	prefix := l.key(logDir, "")
	resp, err := l.c.Get(ctx, prefix+entryName(from), clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("log entries from %d: %w", from, err)
	}
	out := make([]Entry, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		n, err := strconv.ParseUint(string(kv.Key[len(prefix):]), 16, 64)
		if err != nil {
			return nil, &CorruptError{logDir, string(kv.Key[len(prefix):]), err}
		}
		out[i] = Entry{Revision(n), kv.Value}
	}
	return out, nil
}

// Trim deletes old entries. etcd keeps former versions of every key until they are compacted away; in a server of our own
// that is our work.
func (l *etcdLog) Trim(ctx context.Context, below Revision) error {
	resp, err := l.c.Txn(ctx).If(l.owned()).
		Then(clientv3.OpDelete(l.key(logDir, ""), clientv3.WithRange(l.key(logDir, entryName(below))))).Commit()
	if err != nil {
		return fmt.Errorf("trim log below %d: %w", below, err)
	}
	if !resp.Succeeded {
		return ErrFenced
	}
	return l.compact(ctx, resp.Header.Revision)
}

func (l *etcdLog) compact(ctx context.Context, to int64) error {
	if l.defrag == nil || to <= l.kept {
		return nil
	}
	if _, err := l.c.Compact(ctx, to); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact etcd to %d: %w", to, err)
	}
	l.kept = to
	return nil
}

// makeRoom is the way out of etcd's quota: forget old versions, give the space back to the file system, clear the alarm.
// The log's bounds lie below the quota, so that this suffices unless the records themselves fill it.
func (l *etcdLog) makeRoom(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	head, err := l.c.Get(ctx, l.key(metaDir, "head"))
	if err != nil {
		return err
	}
	if _, err := l.c.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	if err := l.defrag(); err != nil {
		return err
	}
	_, err = l.c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

func (l *etcdLog) Limits() Limits { return l.limits }

func (l *etcdLog) Close() error {
	err := l.c.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if l.stop != nil {
		err = errors.Join(err, l.stop())
	}
	return err
}

// probeOps finds how many operations the server takes in one transaction, up to max: etcd's default is 128 and no request
// tells it. The probe is a transaction whose condition is false, of reads only.
func (l *etcdLog) probeOps(ctx context.Context, max int) (int, error) {
	takes := func(n int) (bool, error) {
		ops := make([]clientv3.Op, n)
		for i := range ops {
			ops[i] = clientv3.OpGet(l.key(metaDir, "head"), clientv3.WithCountOnly())
		}
		_, err := l.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(l.key(metaDir, "never")), ">", 0)).Then(ops...).Commit()
		if errors.Is(err, rpctypes.ErrTooManyOps) {
			return false, nil
		}
		return err == nil, err
	}
	ok, err := takes(max)
	if ok || err != nil {
		return max, err
	}
	low, high := 1, max // takes(low), not takes(high)
	for high-low > 1 {
		mid := (low + high) / 2
		if ok, err = takes(mid); err != nil {
			return 0, fmt.Errorf("probe etcd's limit of operations: %w", err)
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

func newEtcdLog(c *clientv3.Client, prefix string) *etcdLog {
	return &etcdLog{c: c, prefix: prefix, nonce: uuid.NewString()}
}
