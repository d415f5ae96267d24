package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client is one keep-alive connection without retries: net/http's client would hide
// failures.
type client struct {
	addr    string
	timeout time.Duration // of one request; 0 is waitLimit
	token   string
	// If asked is set, the client sends a body only when the server asks for it
	// (Expect: 100-continue), after a call of asked, which may send a part of it.
	asked func() (sent int)

	conn net.Conn
	in   *bufio.Reader
}

// answer is an HTTP answer.
type answer struct {
	status   int
	revision int64 // -1 if the header is missing
	header   http.Header
	body     []byte
}

func (c *client) get(target string) (answer, error) { return c.do("GET", target, nil, "") }

// do sends one request and reads its answer. After an error the next call connects
// again.
func (c *client) do(method, target string, body []byte, header string) (a answer, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	timeout := c.timeout
	if timeout == 0 {
		timeout = waitLimit
	}
	deadline := time.Now().Add(timeout)
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.addr, timeout); err != nil {
			return answer{}, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: flaggery\r\n%s", method, target, header)
	if c.token != "" {
		fmt.Fprintf(&request, "Authorization: Bearer %s\r\n", c.token)
	}
	if body != nil {
		mediaType := "application/json"
		if strings.HasPrefix(target, "/v1/import/") {
			mediaType = "application/x-ndjson"
		}
		fmt.Fprintf(&request, "Content-Type: %s\r\nContent-Length: %d\r\n", mediaType, len(body))
	}
	if c.asked != nil {
		request.WriteString("Expect: 100-continue\r\n\r\n")
	} else {
		request.WriteString("\r\n")
		request.Write(body)
	}
	response, err := c.exchange(method, request.Bytes())
	if err == nil && response.StatusCode == http.StatusContinue {
		response, err = c.exchange(method, body[c.asked():])
	}
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a = answer{status: response.StatusCode, revision: -1, header: response.Header}
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return answer{}, err
	}
	if text := a.header.Get("Flaggery-Revision"); text != "" {
		if a.revision, err = strconv.ParseInt(text, 10, 64); err != nil {
			return answer{}, err
		}
	}
	if response.Close {
		c.close()
	}
	return a, nil
}

// exchange sends bytes and reads the answer.
func (c *client) exchange(method string, sent []byte) (*http.Response, error) {
	if _, err := c.conn.Write(sent); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.in, &http.Request{Method: method})
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// send is do with a JSON body; it ignores the answer's body.
func (c *client) send(method, target string, body any) (answer, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	return c.do(method, target, text, "")
}
