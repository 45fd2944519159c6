// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// followPage is how many commits Follow reads at once; one may be as large as a batch.
const followPage = 32

// Follow hands over what the log keeps of the commits after a revision, oldest first, some at a time, up to the committed head and
// then as commits come, until ctx ends, f fails or the log cannot be read; it returns that error. lost says that the log no longer
// holds all commits before the first of these, because the follower began too late or was too slow; there may be none then.
//
// A follower that keeps the revision of the last commit that it has dealt with misses none and sees none twice, whatever restarts
// (but for those that it was dealing with). Commits to volatile tables alone are no commits here.
func (st *Store) Follow(ctx context.Context, after Revision, f func(rs []LogRecord, lost bool) error) error {
	w := st.Watch()
	defer w.Close()
	for {
		snap, _, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for after < snap.rev {
			rs, err := st.LogTail(ctx, after+1, followPage)
			if err != nil {
				return err
			}
			// The log may be ahead of what readers are shown.
			for len(rs) > 0 && rs[len(rs)-1].Revision > snap.rev {
				rs = rs[:len(rs)-1]
			}
			next, lost := snap.rev, true
			if len(rs) > 0 {
				next, lost = rs[len(rs)-1].Revision, rs[0].Revision > after+1
			}
			if err := f(rs, lost); err != nil {
				return err
			}
			after = next
		}
	}
}
