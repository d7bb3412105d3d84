package record

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// A handler writes as the state of now wants it. It keeps what was derived, and
// derives it again from the handler of a new state.
type handler struct {
	r    *Records
	from *handler // nil: the handler of the state itself
	with func(slog.Handler) slog.Handler
	made atomic.Pointer[made]
}

// made is what a handler comes to in one state.
type made struct {
	in *state
	h  slog.Handler
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.r.state.Load().level
}

func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	return h.in(h.r.state.Load()).Handle(ctx, rec)
}

// in is what h comes to in s.
func (h *handler) in(s *state) slog.Handler {
	if h.from == nil {
		return s.handler
	}
	if m := h.made.Load(); m != nil && m.in == s {
		return m.h
	}
	m := &made{s, h.with(h.from.in(s))}
	h.made.Store(m)
	return m.h
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return &handler{r: h.r, from: h, with: func(from slog.Handler) slog.Handler { return from.WithAttrs(attrs) }}
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{r: h.r, from: h, with: func(from slog.Handler) slog.Handler { return from.WithGroup(name) }}
}
