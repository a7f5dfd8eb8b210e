package wan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"breakwater/internal/reach"
)

func serveControl(ctx context.Context, ln net.Listener, lines map[string]*line) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /lines/{name}", func(w http.ResponseWriter, r *http.Request) {
		l, ok := lines[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(l.condition()) //nolint:errcheck // a lost answer is the asker's to notice
	})
	mux.HandleFunc("PUT /lines/{name}", func(w http.ResponseWriter, r *http.Request) {
		l, ok := lines[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		var c Condition
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.set(c)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() }) //nolint:errcheck // it only ends Serve
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control of the lines: %w", err)
	}
	return nil
}

// Get asks the proxy at control for a line's condition. An unknown line is
// fs.ErrNotExist, a proxy that does not answer reach.ErrUnreachable.
func Get(ctx context.Context, control, name string) (Condition, error) {
	var c Condition
	body, err := ask(ctx, http.MethodGet, control, name, nil)
	if err != nil {
		return c, fmt.Errorf("read the condition of line %s: %w", name, err)
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, fmt.Errorf("read the condition of line %s: %w", name, err)
	}
	return c, nil
}

// Set changes a line's condition; errors are those of [Get].
func Set(ctx context.Context, control, name string, c Condition) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("set the condition of line %s: %w", name, err)
	}
	if _, err := ask(ctx, http.MethodPut, control, name, body); err != nil {
		return fmt.Errorf("set the condition of line %s: %w", name, err)
	}
	return nil
}

func ask(ctx context.Context, method, control, name string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+control+"/lines/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, reach.Mark(err)
	}
	defer res.Body.Close() //nolint:errcheck // read
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return nil, reach.Mark(err)
	case res.StatusCode == http.StatusNotFound:
		return nil, fs.ErrNotExist
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(answer)))
	}
	return answer, nil
}
