import './style.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { live } from './live.svelte';
import { assets } from './settings';

// A part of the pages could not be loaded. If the server does not have it, this tab is of
// another release.
addEventListener('vite:preloadError', () => {
  fetch(`${assets}app.js`, { method: 'HEAD', cache: 'no-store' }).then(
    (answer) => (answer.status === 404 ? (live.updated = true) : (live.unloaded = true)),
    () => (live.unloaded = true),
  );
});

live.start();
mount(App, { target: document.body });
