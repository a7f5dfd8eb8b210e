package reach_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"breakwater/internal/reach"
)

func TestUnreachable(t *testing.T) {
	refused := func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = http.Get("http://" + addr)
		return err
	}
	died := func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}()
		_, err = http.Get("http://" + l.Addr().String())
		return err
	}
	late, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-late.Done()
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"nil":               {nil, false},
		"an answer":         {errors.New("403 Forbidden"), false},
		"we stopped asking": {fmt.Errorf("read: %w", context.Canceled), false},
		"deadline":          {fmt.Errorf("read: %w", late.Err()), true},
		"refused":           {refused(), true},
		"died in mid-reply": {died(), true},
		"marked":            {fmt.Errorf("x: %w", reach.ErrUnreachable), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reach.Unreachable(tc.err); got != tc.want {
				t.Errorf("Unreachable(%v) = %v, want %v", tc.err, got, tc.want)
			}
			marked := reach.Mark(tc.err)
			if got := errors.Is(marked, reach.ErrUnreachable); got != tc.want {
				t.Errorf("Mark(%v) = %v, marked %v, want %v", tc.err, marked, got, tc.want)
			}
			if tc.err != nil && !errors.Is(marked, tc.err) {
				t.Errorf("Mark lost the cause: %v", marked)
			}
		})
	}
}
