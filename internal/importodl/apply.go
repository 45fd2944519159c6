// SPDX-License-Identifier: Apache-2.0

package importodl

import (
	"context"
	"fmt"
	"net/http"
)

// Put writes an object to a server and gives its answer.
type Put func(ctx context.Context, path string, body []byte) (code int, answer []byte, err error)

// Apply writes what a report says would change, one object after another, each in a transaction of its own. It ends at the first that is
// not taken. Doing all again goes on from there: what was written is the same then, and is left alone. told is called after each.
func Apply(ctx context.Context, r *Report, put Put, told func(done, all int)) error {
	for i := range r.todo {
		o := &r.todo[i]
		code, answer, err := put(ctx, o.Path(), o.Body())
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w; %d of %d objects were written before: run the same command again to go on", o.Path(), err, i, len(r.todo))
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			return fmt.Errorf("%s: %s; use an administrator", o.Path(), Message(answer))
		case code >= 300:
			return fmt.Errorf("%s: %s; %d of %d objects were written before: put that right, and run the same command again to go on", o.Path(), Message(answer), i, len(r.todo))
		}
		told(i+1, len(r.todo))
	}
	return nil
}
