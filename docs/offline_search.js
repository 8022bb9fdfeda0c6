// Browsers start no worker for a page that was opened as a file. There the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(address) {
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => setTimeout(() => this.onmessage?.({ data })); // as late as a worker answers
      const script = inside.document.createElement("script");
      script.src = address;
      script.onload = () => {
        for (const data of this.waiting.splice(0)) inside.onmessage({ data });
        this.ready = true;
      };
      script.onerror = (event) => this.onerror?.(event);
      inside.document.head.append(script);
    }
    postMessage(data) {
      if (this.ready) this.frame.contentWindow.onmessage({ data });
      else this.waiting.push(data);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
