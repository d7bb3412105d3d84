package gate

import (
	"context"
	"log/slog"
)

// A tag puts the session, and the user once there is one, before the attributes
// of a line. slog's own With writes them out in advance, which would cost every
// idle session half a kilobyte. What With returns is no tag any more.
type tag struct {
	slog.Handler
	session, user string
}

func tagged(log *slog.Logger, session, user string) *slog.Logger {
	h := log.Handler()
	if t, ok := h.(*tag); ok {
		h = t.Handler
	}
	return slog.New(&tag{h, session, user})
}

func (t *tag) attrs(more int) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 2+more), slog.String("session", t.session))
	if t.user != "" {
		attrs = append(attrs, slog.String("user", t.user))
	}
	return attrs
}

func (t *tag) Handle(ctx context.Context, r slog.Record) error {
	attrs := t.attrs(r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	n := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	n.AddAttrs(attrs...)
	return t.Handler.Handle(ctx, n)
}

func (t *tag) WithAttrs(attrs []slog.Attr) slog.Handler {
	return t.Handler.WithAttrs(append(t.attrs(len(attrs)), attrs...))
}

func (t *tag) WithGroup(name string) slog.Handler {
	return t.Handler.WithAttrs(t.attrs(0)).WithGroup(name)
}
