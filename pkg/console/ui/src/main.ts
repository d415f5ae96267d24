import './style.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { live } from './live.svelte';

// An old tab asks for a page of a release that is gone.
addEventListener('vite:preloadError', (event) => {
  event.preventDefault();
  live.updated = true;
});

live.start();
mount(App, { target: document.body });
