// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"log/slog"
)

// leveled is a slog.Handler with a level of its own.
type leveled struct {
	slog.Handler
	level slog.Level
}

func (h leveled) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h leveled) WithAttrs(as []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(as), h.level}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}
