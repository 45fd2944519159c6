// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// followPage is how many commits Follow reads at once.
const followPage = 128

// Follow hands over what the log keeps of the commits after a revision, oldest first, some at a time, up to the committed head and
// then as commits come, until ctx ends or f fails; it returns that error. lost says that the log no longer holds all
// that came before the first of them: f sees it once, before anything else, perhaps without a record.
//
// A follower that keeps the revision of the last commit that it has dealt with misses none and sees none twice, whatever restarts
// (but for those that it was dealing with). Commits to volatile tables alone are no commits here.
func (st *Store) Follow(ctx context.Context, after Revision, f func(rs []LogRecord, lost bool) error) error {
	w := st.Watch()
	defer w.Close()
	oldest, err := st.LogTail(ctx, 0, 1)
	if err != nil {
		return err
	}
	lost := after < st.Snapshot().rev && (len(oldest) == 0 || oldest[0].Revision > after+1)
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
			if len(rs) > 0 || lost {
				if err := f(rs, lost); err != nil {
					return err
				}
				lost = false
			}
			if len(rs) == 0 {
				after = snap.rev
				break
			}
			after = rs[len(rs)-1].Revision
		}
	}
}
